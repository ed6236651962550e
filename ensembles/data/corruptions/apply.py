"""Corruptions of a batch, with the constants of one of the two tables."""

import torch
from torch import Tensor

from ensembles.data.corruptions import blur, digital, noise, weather
from ensembles.data.corruptions.constants import CIFAR, EXTRA, IMAGENET, SMALL, STANDARD
from ensembles.data.corruptions.draws import Draws
from ensembles.data.corruptions.spatter import spatter
from ensembles.errors import UserError

_FUNCTIONS = {
    name: getattr(module, name)
    for module in (noise, blur, weather, digital)
    for name in STANDARD + EXTRA
    if hasattr(module, name)
} | {"spatter": spatter}

_SMALLEST = 8
_VALUES = 2**19  # of one piece of a batch: bounds the memory, and fits the caches


def table_for(images: Tensor) -> dict:
    """The constants for images (N, C, H, W) of this size."""
    return CIFAR if max(images.shape[-2:]) <= SMALL else IMAGENET


def corrupt_with(table: dict, images: Tensor, type: str, severity: int, seed: int, start: int) -> Tensor:
    """As :func:`ensembles.data.corruptions.corrupt`, for names that are known, with a given table of constants."""
    _require_images(images)
    if len(images) == 0:
        return images
    pieces = images.split(max(1, _VALUES // images[0].numel()))
    done, out = 0, []
    for piece in pieces:
        draws = Draws(seed, "corrupt", type, severity, start=start + done, size=len(piece), device=piece.device)
        corrupted = _FUNCTIONS[type](piece.float() / 255, table[type][severity - 1], draws)
        # The release cuts fractions of a grey level off; the margin keeps a whole level whole through rounding errors.
        out.append((corrupted.clamp(0, 1) * 255 + 1e-3).floor().byte())
        done += len(piece)
    return torch.cat(out)


def _require_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"images to corrupt are {images.dtype} of shape {tuple(images.shape)}, but must be torch.uint8 of shape "
            "(N, C, H, W) with 1 or 3 channels."
        )
    if min(images.shape[-2:]) < _SMALLEST:
        raise UserError(
            f"images to corrupt have {images.shape[-2]}x{images.shape[-1]} pixels, but need at least "
            f"{_SMALLEST}x{_SMALLEST}."
        )
