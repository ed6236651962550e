"""One process at a time works on a run's folder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ensembles.errors import UserError

TRIES, PAUSE = 10, 0.05  # seconds between tries: who only asks for the holder has the lock for a moment


class Busy(UserError):
    """Another process is at work there."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, by its file ``lock``, against other processes; one that dies lets go of it.

    Raises:
        Busy: another process holds it; the sentence says which.
        OSError: the file cannot be written.
    """
    with _claimed(folder) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield


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


def holder(folder: Path) -> str | None:
    """The process that holds a folder, or None."""
    try:
        with open(folder / "lock") as file:
            return None if _locked(file, fcntl.LOCK_SH) else _owner(file)
    except FileNotFoundError:
        return None


def _claimed(folder: Path) -> TextIO:
    path, owner = folder / "lock", ""
    for _ in range(TRIES):
        file = open(path, "a+")  # noqa: SIM115
        if not _locked(file, fcntl.LOCK_EX):
            owner = _owner(file)
            time.sleep(PAUSE)
        elif path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # where the folder was moved away meanwhile it is another folder's lock
    raise Busy(f"{folder} is being worked on by {owner}: wait for it to end.")


def _locked(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _owner(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another process"
