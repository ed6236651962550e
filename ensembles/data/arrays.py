"""Images in the official ``.npy`` layout, read from disk batch by batch."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ensembles.data.examples import Pool
from ensembles.errors import UserError, reason


def read(path: Path, shape: tuple[int | None, ...], integers: bool = False) -> np.ndarray:
    """An array of a file, mapped into memory and not read; nothing that the file carries is run.

    Args:
        shape: what it must have; None where any length is right.
        integers: whether any integers will do; else it must be uint8.

    Raises:
        UserError: a file that is missing, truncated, pickled, or of another shape or type.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}: put the official file there or write it again.") from error
    except (OSError, ValueError, EOFError) as error:
        why = "it is pickled or no array" if _is_pickled(error) else f"it is truncated or damaged ({reason(error)})"
        raise UserError(f"{path} was not loaded, since {why}: delete it and have it replaced.") from error
    right_type = isinstance(array, np.ndarray) and (array.dtype.kind in "iu" if integers else array.dtype == np.uint8)
    fits = right_type and array.ndim == len(shape)
    if not fits or any(wanted not in (None, length) for wanted, length in zip(shape, array.shape, strict=True)):
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        wanted = tuple("any" if length is None else length for length in shape)
        raise UserError(
            f"{path} holds {found}, but must hold {'integers' if integers else 'uint8'} of shape {wanted}: "
            "put the right file there."
        )
    return array


def _is_pickled(error: Exception) -> bool:
    return any(word in str(error) for word in ("pickle", "Python objects"))


class Mapped(Pool):
    """A pool of images in a file (N, H, W, C); a batch of them is read when it is asked for."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def gather(self, index: Tensor) -> Tensor:
        """The images at ``index`` (B,), as uint8 (B, C, H, W) on the index's device."""
        rows = torch.from_numpy(np.asarray(self.array[index.cpu().numpy()]))
        return rows.to(index.device).movedim(-1, 1).contiguous()
