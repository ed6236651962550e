"""Image files to one uint8 array, in parallel, and a cache of such arrays on disk.

Torch is not imported: the worker processes start in a blink.
"""

import json
import os
import re
import shutil
import zlib
from pathlib import Path
from uuid import uuid4

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageOps

from ensembles.data.files.progress import when_slow
from ensembles.errors import UserError, reason
from ensembles.files import alone_in
from ensembles.processes import starting

CHUNK_BYTES = 2**21


def size_of(path: Path) -> tuple[int, int]:
    """Read width and height from a file's header.

    Raises:
        UserError: the file is no image.
    """
    with _opened(path) as image:
        return image.size


def decode(paths: list[Path], size: int, resize: bool, workers: int | None = None) -> np.ndarray:
    """Decode images to uint8 RGB, shape (N, 3, size, size).

    Args:
        paths: the files, in the order of the result.
        size: height and width in pixels.
        resize: scale each image until it covers the square, and take its centre; else it must have the size already.
        workers: processes; None is one per available CPU, 0 or 1 this one alone.

    Raises:
        UserError: a file that is no whole image, or (without ``resize``) of another size.
    """
    images = np.empty((len(paths), 3, size, size), np.uint8)
    length = max(1, min(256, CHUNK_BYTES // (3 * size * size)))
    chunks = [paths[start : start + length] for start in range(0, len(paths), length)]
    # Processes, because Python's share of the work on a small image is too large for threads to run side by side;
    # joblib's, because they do not import the user's program anew.
    jobs = Parallel(n_jobs=-1 if workers is None else max(1, workers), return_as="generator", batch_size=1)
    start = 0
    with starting(instead="set data.num_workers=0"):
        decoded = jobs(delayed(_chunk)(chunk, size, resize) for chunk in chunks)
        for chunk in when_slow(((len(part), part) for part in decoded), len(paths), "Decoding images"):
            images[start : start + len(chunk)] = chunk
            start += len(chunk)
    return images


def _chunk(paths: list[Path], size: int, resize: bool) -> np.ndarray:
    images = np.stack([_pixels(path, size, resize) for path in paths])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _pixels(path: Path, size: int, resize: bool) -> np.ndarray:
    image = open_rgb(path)
    if not resize and image.size != (size, size):
        raise UserError(
            f"The image {path} is {image.width}x{image.height} pixels and others are {size}x{size}: "
            "set data.image_size to resize them all."
        )
    return np.asarray(cover(image, size))


def cover(image: Image.Image, size: int, channels: int = 3) -> Image.Image:
    """Scale an RGB image until it covers a square of so many pixels, and take its centre, in grey for one channel."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return image.convert("L") if channels == 1 else image


def open_rgb(path: Path) -> Image.Image:
    """Read a file into memory, as RGB.

    Raises:
        UserError: the file is no whole image.
    """
    with _opened(path) as image:
        try:
            image.load()
        except Exception as error:  # which one depends on the file's format
            raise UserError(f"The image {path} is damaged ({reason(error)}): replace or remove it.") from error
        return _rgb(image, path)


def _opened(path: Path) -> Image.Image:
    if path.exists() and not path.is_file():  # a pipe, which would be waited for
        raise UserError(f"{path} is no regular file: remove it.")
    try:
        return Image.open(path)
    except Image.UnidentifiedImageError as error:
        raise UserError(f"The file {path} is no image: remove it from the class folder.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"The image {path} has too many pixels: scale it down or remove it.") from error
    except OSError as error:
        raise UserError(f"The image {path} cannot be read ({error.strerror or error}): check the file.") from error
    except Exception as error:  # of a file's metadata, for instance such as unpack to more than they should
        raise UserError(f"The image {path} is damaged ({reason(error)}): replace or remove it.") from error


def _rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise UserError(f"The image {path} has pixels of 32 bits, whose range is unknown: save it with 8 or 16 bits.")
    return image if image.mode == "RGB" else image.convert("RGB")


DRAFT = re.compile(r"\..+\.[0-9a-f]{32}")


def read_cache(folder: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict] | None:
    """Read uint8 images of that shape and what was noted with them; None where they are missing or damaged."""
    try:
        notes = json.loads((folder / "notes.json").read_text())
        images = np.load(folder / "images.npy", allow_pickle=False)
        sound = images.shape == shape and images.dtype == np.uint8 and notes.pop("crc32") == zlib.crc32(images)
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError):
        return None
    return (images, notes) if sound else None


def write_cache(folder: Path, images: np.ndarray, notes: dict) -> None:
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
