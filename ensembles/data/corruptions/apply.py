"""Corruptions of a batch, with the constants of one of the two tables, and of one image, on a contact sheet."""

from pathlib import Path

import torch
from torch import Tensor

from ensembles.data.corruptions import blur, digital, weather
from ensembles.data.corruptions.constants import CIFAR, EXTRA, IMAGENET, SEVERITIES, SMALL, STANDARD
from ensembles.data.corruptions.ops import Draws
from ensembles.errors import UserError

_FUNCTIONS = {
    name: getattr(module, name)
    for module in (blur, weather, digital)
    for name in STANDARD + EXTRA
    if hasattr(module, name)
}

_SMALLEST = 8
_VALUES = 2**19  # of one piece of a batch: bounds the memory, and fits the caches


def table_for(images: Tensor) -> dict:
    """Return the constants for images (N, C, H, W) of this size."""
    return CIFAR if max(images.shape[-2:]) <= SMALL else IMAGENET


def corrupt_with(table: dict, images: Tensor, type: str, severity: int, seed: int, start: int) -> Tensor:
    """Corrupt as `ensembles.data.corruptions.corrupt`, for names that are known, with a given table of constants."""
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


def contact_sheet(image: Tensor, path: str | Path, seed: int = 0) -> None:
    """Write the sheet to ``path``: a row for each type, the clean image and then the five severities from the left.

    Args:
        image: uint8, shape (C, H, W); it is image 0 of its set for the random numbers.

    Raises:
        UserError: as :func:`ensembles.data.corruptions.corrupt`.
    """
    from matplotlib.figure import Figure

    table, types = table_for(image[None]), STANDARD + EXTRA
    figure = Figure(figsize=(1.15 * (len(SEVERITIES) + 2), 1.15 * len(types)), layout="constrained")
    axes = figure.subplots(len(types), len(SEVERITIES) + 1)
    for row, name in zip(axes, types, strict=True):
        cells = [image, *(corrupt_with(table, image[None], name, severity, seed, 0)[0] for severity in SEVERITIES)]
        for axis, cell in zip(row, cells, strict=True):
            pixels = cell.cpu().movedim(0, -1).squeeze(-1).numpy()
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center")
    for axis, title in zip(axes[0], ("clean", *SEVERITIES), strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=150)
