"""The 15 standard corruptions of Hendrycks & Dietterich (ICLR 2019) and the 4 extra ones, at five severities."""

from difflib import get_close_matches

import torch
from torch import Tensor

from ensembles.data.corruptions import blur, digital, weather
from ensembles.data.corruptions.constants import CIFAR, EXTRA, IMAGENET, SEVERITIES, SMALL, STANDARD
from ensembles.data.corruptions.ops import Draws
from ensembles.errors import UserError

__all__ = ["EXTRA", "SEVERITIES", "STANDARD", "corrupt", "require_known"]

_FUNCTIONS = {
    name: getattr(module, name)
    for module in (blur, weather, digital)
    for name in STANDARD + EXTRA
    if hasattr(module, name)
}

_ON_LEVELS = {"pixelate", "jpeg_compression"}  # functions of uint8; the others are of numbers in [0, 1], and of draws
_SMALLEST = 8
_VALUES = 2**19  # of one piece of a batch: bounds the memory, and fits the caches


def table_for(images: Tensor) -> dict:
    """Return the constants for images (N, C, H, W): up to 64 pixels a side CIFAR-10-C's, above ImageNet-C's."""
    return CIFAR if max(images.shape[-2:]) <= SMALL else IMAGENET


def require_known(type: str, severity: int) -> None:
    """Raises UserError, with the near matches, unless this corruption exists."""
    if type not in STANDARD + EXTRA:
        near = get_close_matches(str(type), STANDARD + EXTRA, cutoff=0.5) or STANDARD + EXTRA
        raise UserError(f"There is no corruption {type!r}; did you mean {' or '.join(near)}?")
    if not isinstance(severity, int) or isinstance(severity, bool) or severity not in SEVERITIES:
        raise UserError(f"The severity of {type} is {severity!r}, but must be a whole number from 1 to 5.")


def corrupt(
    images: Tensor, type: str, severity: int, seed: int = 0, start: int = 0, table: dict | None = None
) -> Tensor:
    """Corrupt a batch of images.

    Each image has its own random numbers, which follow from the seed, the type, the severity and the image's index in
    its set (``start`` for the first of the batch): a set comes out the same in batches of any size.

    Args:
        images: uint8, shape (N, C, H, W) with C = 1 or 3, on any device, at least 8x8 pixels.
        type: one of STANDARD or EXTRA.
        severity: 1 to 5.
        table: constants; None for those of `table_for`.

    Returns:
        uint8 images of the same shape, on the same device; fractions of grey levels are cut off, as in the release.

    Raises:
        UserError: unknown type or severity, images of another kind, frost's photographs not installed.

    Paper: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
    ICLR 2019, section 4.
    """
    require_known(type, severity)
    _require_images(images)
    table = table or table_for(images)
    if len(images) == 0:
        return images
    constants = table[type][severity - 1]
    if type in _ON_LEVELS:
        return _FUNCTIONS[type](images, constants)
    done, out = 0, []
    for piece in images.split(max(1, _VALUES // images[0].numel())):
        draws = Draws(seed, "corrupt", type, severity, start=start + done, size=len(piece), device=piece.device)
        corrupted = _FUNCTIONS[type](piece.float().div_(255), constants, draws)
        # Fractions of a level are cut off, as in the release; a margin keeps whole levels through rounding errors.
        out.append(corrupted.clamp(0, 1).mul_(255).add_(1e-3).byte())
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
