"""What image files a folder holds. Torch is not imported."""

import os
from functools import cache
from pathlib import Path

from PIL import Image


def files(folder: str | Path) -> list[str]:
    """The image files at or below a folder, in the order of their names; hidden ones and other files are left out."""
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found += files(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in _suffixes():
                found.append(entry.path)
    return found


def subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder, in the order of their names."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


@cache
def _suffixes() -> set[str]:
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
