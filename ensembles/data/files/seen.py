"""Whether images are still those that were seen, though their files have the same names and sizes.

Times of change tell at a glance that nothing has changed. Where they differ, as after copying, contents are compared.
Torch is not imported.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ensembles.data.files.fingerprint import File, files_below
from ensembles.errors import UserError


def look(places: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """What is to be kept of the images in each folder; of one that cannot be read nothing is."""
    found = {}
    for name, folder in places.items():
        times = _times(folder)
        if times is not None:
            found[name] = {"times": times, "contents": _contents(folder, times)}
    return found


def unchanged(before: Mapping | None, places: Mapping[str, Path]) -> bool:
    """Whether the folders of which something was kept hold the same images as then."""
    for name, folder in places.items():
        if name in (before or {}):
            times = _times(folder)
            if times is None or (
                times != before[name]["times"] and _contents(folder, times) != before[name]["contents"]
            ):
                return False
    return True


def _times(folder: Path) -> str | None:
    """A hash of the files' names, sizes and times of change."""
    state = hashlib.blake2b(digest_size=8)
    try:
        for file in files_below(folder):
            state.update(os.fsencode(f"{file.path}\0{file.size}\0{file.changed}\0"))
    except (OSError, UserError):  # the latter of folders that cannot be walked through
        return None
    return state.hexdigest()


@lru_cache(maxsize=64)
def _contents(folder: Path, times: str) -> str:
    """A hash of the files' names and contents, computed once for the same times of change."""
    state = hashlib.blake2b(digest_size=8)
    for file in files_below(folder):
        state.update(os.fsencode(f"{file.path}\0{_digest(folder, file)}\0"))
    return state.hexdigest()


def _digest(folder: Path, file: File) -> str:
    try:
        with open(f"{folder}{file.path}", "rb") as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()
    except OSError:  # what cannot be read is said where it is decoded
        return "unreadable"
