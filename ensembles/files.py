"""Writing a file so that it is there whole or as it was before, and one process at a time in a folder."""

import csv
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ensembles.errors import Busy, UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, which takes its place at the end unless something went wrong.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    draft = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, by which writers choose a format
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"Cannot write {path} ({why}): free space or choose another folder.") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        UserError: as `replacing`.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_rows(path: str | Path, rows: Iterable[Sequence]) -> None:
    """Write a CSV whole or not at all.

    Raises:
        UserError: as `replacing`.
    """
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


PATIENCE = 0.5  # seconds: who only asks for the holder has the lock for a moment
WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP}  # of a file system


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, by its file ``lock``, against other processes; one that dies lets go of it.

    Raises:
        Busy: another process holds it; the sentence says which.
        OSError: the file cannot be written.
    """
    path = folder / "lock"

    def claim(file: int) -> None:
        if not os.path.samestat(os.fstat(file), path.stat()):
            raise FileNotFoundError(errno.ENOENT, "moved away meanwhile", str(path))
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)

    lock = FileLock(path, timeout=PATIENCE, on_acquired=claim)
    try:
        try:
            lock.acquire()
        except FileNotFoundError:  # now it would be another folder's lock
            lock.acquire()
    except Timeout as error:
        raise Busy(f"{folder} is being worked on by {_owner(path)}: wait for it to end.") from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def holder(folder: Path) -> str | None:
    """Name the process that holds a folder; None where none does."""
    path = folder / "lock"
    try:
        if path.exists():
            with FileLock(path, timeout=0.1, poll_interval=0.02):  # another who asks has it for a moment
                pass
    except Timeout:
        return _owner(path)
    except OSError:  # a file system without locks, or somebody else's folder
        pass
    return None


def _owner(path: Path) -> str:
    return path.read_text().strip() or "another process"


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Wait until no other process that asks for it so is in the folder; no file of it is left behind.

    Yields whether it is certain: not every file system can tell.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            certain = True
        except OSError:
            certain = False
        yield certain
    finally:
        os.close(opened)
