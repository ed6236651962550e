"""What image folders hold, and whether that is what they held before. Torch is not imported and no image is decoded.

Names and sizes identify a folder. Times of change tell at a glance that nothing has changed; where they differ, as
after copying, contents are compared.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from ensembles.data.files.listing import is_folder, read_columns, utf8_name, visible, walk
from ensembles.errors import UserError

LAYOUT = "train/<class>/ and test/<class>/"


class File(NamedTuple):
    """One image file: its path below the root, its size in bytes and its times of change in nanoseconds."""

    path: str
    size: int
    changed: tuple[int, int]  # the content's, which copying can keep, and the file's own, which nothing can


Listing = dict[str, dict[str, list[File]]]  # split -> class -> files, classes and files in sorted order


class Column(NamedTuple):
    """The files that a column of a CSV names, relative to the CSV."""

    table: Path
    name: str


def _files(folder: Path, name: str) -> Iterator[File]:
    for path, entry in walk(folder):
        yield _file(f"{name}{path.removeprefix(str(folder))}", entry.stat())


def _file(path: str, stat: os.stat_result) -> File:
    return File(path, stat.st_size, (stat.st_mtime_ns, stat.st_ctime_ns))


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


def scan_tables(
    tables: Mapping[str, str | None], path_column: str, label_column: str, class_names: Sequence[str] | None = None
) -> Listing:
    """List the files that CSVs name, by split and class; their paths are relative to the CSV.

    Args:
        tables: of train, val and test; None where there is none.
        class_names: all classes, which integer labels then number, unless all training labels are names of classes;
            None for the training labels themselves, in the order of the alphabet, or of numbers where all are.

    Raises:
        UserError: a CSV that is missing or lacks a column, a file that does not exist, or a label of no class.
    """
    rows = {}
    for split, table in tables.items():
        if table is not None:
            found = read_columns(Path(table).expanduser(), path_column, label_column)
            rows[split] = [(line, *map(str.strip, cells)) for line, cells in found]
        elif split != "val":
            raise UserError(f"data.{split} is not set: give it a CSV with columns {path_column} and {label_column}.")
    labels = {label for _, _, label in rows["train"]}
    numbered = all(label.isdecimal() for label in labels)
    names = list(map(str, class_names)) if class_names else sorted(labels, key=int if numbered else str)
    indices = class_names and numbered and not labels.issubset(names)
    if len(names) < 2:
        raise UserError(f"{tables['train']} has one label only, but a classifier needs two or more.")
    listing: Listing = {}
    for split, found in rows.items():
        classes: dict[str, list[File]] = {name: [] for name in names}
        for line, path, label in found:
            where = f"{tables[split]}, line {line}"
            if indices and label.isdecimal() and int(label) < len(names):
                label = names[int(label)]
            if label not in classes:
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                known = "data.class_names has" if class_names else "training has"
                raise UserError(f"{where}: the label {label} is of no class; {known} {shown}.")
            try:
                stat = os.stat(Path(tables[split]).expanduser().parent / path)
            except (OSError, ValueError) as error:
                raise UserError(f"{where}: there is no file {path}; paths are relative to the CSV.") from error
            classes[label].append(_file(path, stat))
        listing[split] = classes
    return listing


def table_fingerprint(*arguments: object) -> str:
    """Identify what CSVs name by 32 hexadecimal digits: paths as written there, labels and sizes of files.

    Args:
        arguments: train, val and test, and those of `scan_tables` after them.

    Raises:
        UserError: as `scan_tables`.
    """
    listing = scan_tables(dict(zip(("train", "val", "test"), arguments[:3], strict=True)), *arguments[3:])
    return digest(listing, *((split, name, len(files)) for split, c in listing.items() for name, files in c.items()))


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


def image_hashes(folders: Mapping[str, Path | Column]) -> dict[str, dict[str, str]]:
    """Hash each folder's, or column's, times of change and contents; one that cannot be read is left out."""
    found = {}
    for name, folder in folders.items():
        times = _times(folder)
        if times is not None:
            found[name] = {"times": times, "contents": _contents(folder, times)}
    return found


def images_unchanged(before: Mapping | None, folders: Mapping[str, Path | Column]) -> bool:
    """Tell whether the folders whose hashes were kept hold the same images as then."""
    for name, folder in folders.items():
        if name in (before or {}):
            times = _times(folder)
            if times is None or (
                times != before[name]["times"] and _contents(folder, times) != before[name]["contents"]
            ):
                return False
    return True


def _times(folder: Path | Column) -> str | None:
    return _hash(folder, lambda file: f"{file.size}\0{file.changed}")


@lru_cache(maxsize=64)
def _contents(folder: Path | Column, times: str) -> str | None:
    """Hash the files' names and contents, once for the same times of change."""
    return _hash(folder, partial(_file_hash, folder))


def _hash(folder: str | Path | Column, said_of: Callable[[File], object]) -> str | None:
    """Hash the name of each visible file below a folder, and what ``said_of`` says of it."""
    state = hashlib.blake2b(digest_size=8)
    try:
        for file in _named(folder) if isinstance(folder, Column) else _files(Path(folder).expanduser(), ""):
            state.update(os.fsencode(f"{file.path}\0{said_of(file)}\0"))
    except (OSError, UserError):  # the latter of folders that cannot be walked through
        return None
    return state.hexdigest()


def _named(column: Column) -> Iterator[File]:
    for _, (path,) in read_columns(column.table, column.name):
        yield _file(path, os.stat(column.table.parent / path))


def _file_hash(folder: Path | Column, file: File) -> str:
    place = Path(folder.table.parent / file.path if isinstance(folder, Column) else f"{folder}{file.path}")
    if not place.is_file():  # a device would not end
        return "unreadable"
    try:
        with open(place, "rb") as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()
    except OSError:  # what cannot be read is said where it is decoded
        return "unreadable"
