"""Reading files that anybody may have written, writing them whole or not at all, one process at a time in a folder."""

import csv
import errno
import fcntl
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from ensembles.errors import Busy, UserError, reason

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile

LARGEST_TEXT = 2**26  # bytes
LONGEST_INTEGER = 20  # digits; a longer number becomes a float
MOST_VALUES, DEEPEST = 1_000_000, 100  # of one file, as aliases of YAML unfold; containers in containers
ESCAPES = re.compile(r"\\u00[19]b|[\x1b\x9b]", re.IGNORECASE)  # each begins a sequence that a terminal obeys
ARRAY, ARRAY_SHRUNK = 2**28, 100  # bytes of an array that are let pass, and how many a byte of the file can be beyond


def load_text(path: str | Path) -> str:
    """Read a text file into memory.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is a pipe or a device, too large to be meant, or not in UTF-8.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    if path.stat().st_size > LARGEST_TEXT:
        raise ValueError("it is too large")
    return path.read_text(encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is none, nested so deeply that no program has written it, or would give a terminal orders.
    """
    text = text.decode() if isinstance(text, bytes) else text
    if ESCAPES.search(text):
        raise ValueError("it holds control characters")
    try:
        return json.loads(text, parse_int=lambda digits: (int if len(digits) <= LONGEST_INTEGER else float)(digits))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def load_json(path: str | Path) -> Any:
    """Read a JSON file; raises what `load_text` and `parse_json` do."""
    return parse_json(load_text(path))


class _Loader(yaml.SafeLoader):
    """Builds plain values alone, and no key <<, by which a few lines unfold to more than any memory holds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("it has a key <<")


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values.

    Raises:
        ValueError: it is none, unfolds to too much, or would give a terminal orders.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(reason(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    left, seen = [(value, 0)], 0
    while left:
        one, depth = left.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise ValueError("it holds too much")
        if isinstance(one, str) and ESCAPES.search(one):
            raise ValueError("it holds control characters")
        children = (*one, *one.values()) if isinstance(one, dict) else one if isinstance(one, list) else ()
        left += [(child, depth + 1) for child in children]
    return value


def load_yaml(path: str | Path) -> Any:
    """Read a YAML file; raises what `load_text` and `parse_yaml` do."""
    return parse_yaml(load_text(path))


@contextmanager
def open_arrays(path: str | Path, most: dict[str, int] | None = None) -> "Iterator[NpzFile]":
    """Open a .npz, nothing of which runs, and of which nothing small unpacks to what fills the memory.

    Args:
        most: for arrays by their names how many bytes they may have.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it is missing or damaged, or an array is not as large as it says.
    """
    import numpy as np

    with zipfile.ZipFile(path) as archive:
        size = Path(path).stat().st_size
        for part in archive.infolist():
            allowed = ARRAY + ARRAY_SHRUNK * min(part.compress_size, size)
            if part.file_size > min(allowed, (most or {}).get(part.filename.removesuffix(".npy"), allowed)):
                raise ValueError(f"its part {part.filename} is far larger than the file")
            with archive.open(part) as file:
                version = np.lib.format.read_magic(file)
                known = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                if version not in known:
                    raise ValueError(f"its part {part.filename} is of another kind")
                shape, _, kind = known[version](file)
                if not kind.itemsize or prod(shape) * kind.itemsize != part.file_size - file.tell():
                    raise ValueError(f"its part {part.filename} is not as large as it says")
    with np.load(path, allow_pickle=False) as file:
        yield file


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
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


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
def held(folder: Path, name: str = "lock") -> Iterator[None]:
    """Hold a folder, by a file of this name in it, against other processes; one that dies lets go of it.

    Raises:
        Busy: another process holds it; the sentence says which.
        OSError: the file cannot be written.
    """
    path = folder / name

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
