"""Decoded images on disk: a folder that is there whole or not at all. Torch is not imported."""

import json
import os
import re
import shutil
import zlib
from pathlib import Path
from uuid import uuid4

import numpy as np

from ensembles.errors import UserError
from ensembles.lock import alone_in

DRAFT = re.compile(r"\..+\.[0-9a-f]{32}")


def read(folder: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict] | None:
    """The uint8 images of that shape and what was noted with them; None where there are none or they are damaged."""
    try:
        notes = json.loads((folder / "notes.json").read_text())
        images = np.load(folder / "images.npy", allow_pickle=False)
        sound = images.shape == shape and images.dtype == np.uint8 and notes.pop("crc32") == zlib.crc32(images)
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError):
        return None
    return (images, notes) if sound else None


def write(folder: Path, images: np.ndarray, notes: dict) -> None:
    """Put images and notes into ``folder``, in the place of a damaged one.

    Raises:
        UserError: the disk is full or not writable; nothing is left under the folder's name then.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(folder.parent) as certain:
            if certain:
                _remove_drafts(folder.parent)
            temporary.mkdir()
            np.save(temporary / "images.npy", images)
            (temporary / "notes.json").write_text(json.dumps({**notes, "crc32": zlib.crc32(images)}))
            if folder.exists():
                folder.rename(temporary / "damaged")
            os.rename(temporary, folder)
            shutil.rmtree(folder / "damaged", ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"The decoded images cannot be written to {folder} ({error.strerror or error}): "
            "make room or set data.cache_dir to another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_drafts(folder: Path) -> None:
    """Remove what processes have left that were killed while they wrote."""
    for path in folder.iterdir():
        if DRAFT.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
