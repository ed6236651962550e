"""Image files to one uint8 array, in parallel, and a cache of such arrays on disk.

Torch is not imported: the worker processes start in a blink.
"""

import os
import zlib
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageOps

from ensembles.data.files.listing import image_formats
from ensembles.data.files.progress import when_slow
from ensembles.errors import UserError, reason
from ensembles.files import alone_in, open_arrays
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
        return rgb(image, f"The image {path}")


def _opened(path: Path) -> Image.Image:
    if path.exists() and not path.is_file():  # a pipe, which would be waited for
        raise UserError(f"{path} is no regular file: remove it.")
    try:
        return Image.open(path, formats=image_formats())
    except Image.UnidentifiedImageError as error:
        raise UserError(f"The file {path} is no image: remove it from the class folder.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"The image {path} has too many pixels: scale it down or remove it.") from error
    except OSError as error:
        raise UserError(f"The image {path} cannot be read ({error.strerror or error}): check the file.") from error
    except Exception as error:  # of a file's metadata, for instance such as unpack to more than they should
        raise UserError(f"The image {path} is damaged ({reason(error)}): replace or remove it.") from error


def rgb(image: Image.Image, name: str = "an image") -> Image.Image:
    """Convert an image of any mode to RGB; one of 16 bits is scaled to 8.

    Raises:
        UserError: pixels of 32 bits; the sentence begins with the ``name``.
    """
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise UserError(f"{name} has pixels of 32 bits, whose range is unknown: save it with 8 or 16 bits.")
    return image if image.mode == "RGB" else image.convert("RGB")


def read_cache(path: Path, shape: tuple[int, ...]) -> dict[str, np.ndarray] | None:
    """Read the arrays of a cache whose ``images`` are uint8 of that shape; None where it is missing or damaged."""
    try:
        with open_arrays(path) as file:  # as of any zip archive, reading checks each part's CRC-32
            arrays = dict(file)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error):
        return None
    images = arrays.get("images")
    return arrays if images is not None and images.shape == shape and images.dtype == np.uint8 else None


def write_cache(path: Path, **arrays: np.ndarray | list) -> None:
    """Put arrays into a cache file (.npz), in the place of a damaged one.

    Raises:
        UserError: the disk is full or not writable; nothing is left under the file's name then.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(path.parent) as certain:
            for left in path.parent.glob(".*.npz.*.draft") if certain else ():  # by processes that were killed
                left.unlink()
            with open(draft, "wb") as file:
                np.savez(file, **arrays)
            os.replace(draft, path)
    except OSError as error:
        raise UserError(
            f"The decoded images cannot be written to {path} ({error.strerror or error}): "
            "make room or set data.cache_dir to another folder."
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
