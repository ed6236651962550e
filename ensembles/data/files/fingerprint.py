"""What image folders hold, and whether that is what they held before. Torch is not imported and no image is decoded.

Names and sizes identify a folder. Times of change tell at a glance that nothing has changed; where they differ, as
after copying, contents are compared.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from ensembles.data.files.listing import is_folder, utf8_name, visible, walk
from ensembles.errors import UserError

LAYOUT = "train/<class>/ and test/<class>/"


class File(NamedTuple):
    """One image file: its path below the root, its size in bytes and its times of change in nanoseconds."""

    path: str
    size: int
    changed: tuple[int, int]  # the content's, which copying can keep, and the file's own, which nothing can


Listing = dict[str, dict[str, list[File]]]  # split -> class -> files, classes and files in sorted order


def _files(folder: Path, name: str) -> Iterator[File]:
    for path, entry in walk(folder):
        stat = entry.stat()
        yield File(f"{name}{path.removeprefix(str(folder))}", stat.st_size, (stat.st_mtime_ns, stat.st_ctime_ns))


def _classes(folder: Path) -> dict[str, list[File]]:
    classes = {}
    for entry in visible(folder):
        if not is_folder(entry):
            continue
        classes[utf8_name(entry)] = list(_files(folder / entry.name, f"{folder.name}/{entry.name}"))
        if not classes[entry.name]:
            raise UserError(f"The class folder {folder / entry.name} holds no image: put images there or remove it.")
    return classes


def scan(root: str | Path | None) -> Listing:
    """List ``train/<class>/``, ``test/<class>/`` and, where it is there, ``val/<class>/``; hidden files are left out.

    Raises:
        UserError: no such folder, a class folder without a file, one class only, or a class that training lacks.
    """
    if root is None:
        raise UserError(f"data.root is not set: give it the folder that holds {LAYOUT}.")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise UserError(f"data.root={root} is not a folder: give it the folder that holds {LAYOUT}.")
    listing: Listing = {}
    try:
        for split in ("train", "val", "test"):
            if (root / split).is_dir():
                listing[split] = _classes(root / split)
            elif split != "val":
                raise UserError(f"The folder {root / split} does not exist: data.root={root} must hold {LAYOUT}.")
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): check it and its permissions.") from error
    known = listing["train"]
    if len(known) < 2:
        raise UserError(f"{root / 'train'} has {len(known)} class folder(s), but a classifier needs two or more.")
    for split, classes in listing.items():
        if not classes:
            raise UserError(f"{root / split} has no class folder: data.root={root} must hold {split}/<class>/.")
        for name in classes:
            if name not in known:
                raise UserError(f"The class folder {root / split / name} has no counterpart {root / 'train' / name}.")
    return listing


def digest(listing: Listing, *more: object, times: bool = False) -> str:
    """Hash the files' names and sizes, their times of change where asked for, and of ``more``."""
    state = hashlib.blake2b(repr(more).encode(), digest_size=16)
    for classes in listing.values():
        for files in classes.values():
            for file in files:
                state.update(os.fsencode(f"{file.path}\0{file.size}\0{file.changed if times else ''}\0"))
    return state.hexdigest()


def fingerprint(root: str | Path | None) -> str:
    """Identify an image folder by 32 hexadecimal digits that stay when the folder moves.

    The files' names and sizes go into it, the path of the folder and the pixels do not; sizes tell apart two folders
    that number their files alike.

    Raises:
        UserError: as ``scan``.
    """
    return digest(scan(root))


def contents_hash(folder: str | Path) -> str | None:
    """Hash the names and sizes of all files below a folder; None where it cannot be read."""
    return _hash(folder, lambda file: file.size)


def image_hashes(folders: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Hash each folder's times of change and its contents; a folder that cannot be read is left out."""
    found = {}
    for name, folder in folders.items():
        times = _times(folder)
        if times is not None:
            found[name] = {"times": times, "contents": _contents(folder, times)}
    return found


def images_unchanged(before: Mapping | None, folders: Mapping[str, Path]) -> bool:
    """Tell whether the folders whose hashes were kept hold the same images as then."""
    for name, folder in folders.items():
        if name in (before or {}):
            times = _times(folder)
            if times is None or (
                times != before[name]["times"] and _contents(folder, times) != before[name]["contents"]
            ):
                return False
    return True


def _times(folder: Path) -> str | None:
    return _hash(folder, lambda file: f"{file.size}\0{file.changed}")


@lru_cache(maxsize=64)
def _contents(folder: Path, times: str) -> str | None:
    """A hash of the files' names and contents, computed once for the same times of change."""
    return _hash(folder, partial(_file_hash, folder))


def _hash(folder: str | Path, said_of: Callable[[File], object]) -> str | None:
    """A hash of the name of each file below a folder and of something else about it; hidden files are left out."""
    state = hashlib.blake2b(digest_size=8)
    try:
        for file in _files(Path(folder).expanduser(), ""):
            state.update(os.fsencode(f"{file.path}\0{said_of(file)}\0"))
    except (OSError, UserError):  # the latter of folders that cannot be walked through
        return None
    return state.hexdigest()


def _file_hash(folder: Path, file: File) -> str:
    try:
        with open(f"{folder}{file.path}", "rb") as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()
    except OSError:  # what cannot be read is said where it is decoded
        return "unreadable"
