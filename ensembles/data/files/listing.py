"""What files a folder holds, and what the notes among them say. Torch is not imported."""

import csv
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from ensembles.errors import UserError, reason
from ensembles.files import load_text, parse_json


def image_files(folder: str | Path) -> list[str]:
    """List the image files at or below a folder, in the order of their names; hidden and other files are left out.

    Raises:
        UserError: a folder that cannot be read, or a link to a folder that it is in.
    """
    return [path for path, _ in walk(folder) if os.path.splitext(path)[1].lower() in _suffixes()]


def subfolders(folder: Path) -> list[Path]:
    """List the visible folders in a folder, in the order of their names.

    Raises:
        UserError: one whose name is no text.
    """
    return [Path(entry.path) for entry in visible(folder) if is_folder(entry) and utf8_name(entry)]


def walk(folder: str | Path, inside: Sequence[tuple[int, int]] = ()) -> Iterator[tuple[str, os.DirEntry]]:
    """Yield the path and the entry of each visible file at or below a folder, in the order of their names.

    Raises:
        UserError: as `image_files`.
    """
    inside = inside or [_identity(parent) for parent in (Path(folder).resolve(), *Path(folder).resolve().parents)]
    for entry in visible(folder):
        if not is_folder(entry):
            yield entry.path, entry
            continue
        if _identity(entry.path) in inside:
            raise UserError(f"{entry.path} is a link to a folder that it is in itself: remove it.")
        yield from walk(entry.path, [*inside, _identity(entry.path)])


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def visible(folder: str | Path) -> list[os.DirEntry]:
    """List a folder's entries in the order of their names, without hidden ones.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): check it and its permissions.") from error


def is_folder(entry: os.DirEntry) -> bool:
    """Tell whether an entry is a folder, or a link to one.

    Raises:
        UserError: a link that leads to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError(f"{entry.path} cannot be read ({error.strerror}): remove it.") from error


def utf8_name(entry: os.DirEntry) -> str:
    """Return an entry's name.

    Raises:
        UserError: a name that is no text.
    """
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"The name of the folder {entry.path!r} is not in UTF-8: rename it.") from error
    return entry.name


@cache
def image_formats() -> list[str]:
    """List Pillow's names of the formats that it reads, without EPS, which is a program that Ghostscript would run."""
    from PIL import Image

    Image.init()
    return [kind for kind in Image.OPEN if kind != "EPS"]


@cache
def _suffixes() -> set[str]:
    from PIL import Image

    formats = image_formats()
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in formats}


def read_text(path: Path) -> str:
    """Read a file's text.

    Raises:
        UserError: a file that is missing or cannot be read.
    """
    try:
        return load_text(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): it comes with the set, put it back.") from error


def read_columns(path: Path, *columns: str) -> list[tuple[int, list[str]]]:
    """Read columns of a CSV, by their names in its first line: each row's line number and cells.

    Raises:
        UserError: a file that cannot be read or holds no row, a column that it lacks, or a row without one of them.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} cannot be read as a CSV (it is no regular file): check the file.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or []
            for column in columns:
                if column not in names:
                    raise UserError(f"{path} has no column {column}: it has {', '.join(names) or 'none'}.")
            found = [(rows.line_num, [row[column] for column in columns]) for row in rows]
    except FileNotFoundError as error:
        raise UserError(f"There is no CSV {path}: check its name and folder.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a CSV ({reason(error)}): check the file.") from error
    if not found:
        raise UserError(f"{path} has no row: give each image one.")
    for line, cells in found:
        for column, cell in zip(columns, cells, strict=True):
            if not (cell or "").strip():
                raise UserError(f"{path}, line {line}, has no {column}: fill it in or remove the line.")
    return found


def read_json(path: Path):
    """Read a JSON file.

    Raises:
        UserError: a file that is missing, or is no JSON.
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({reason(error)}): it comes with the set, put it back.") from error
