"""What several corruptions are made of: random draws, blurring one axis after the other, zooming, grey.

Gaussian blurs are matrix products along one axis and then the other, with any border and width. They are in double
precision: the last step rounds down to whole grey levels, and an image should not come out
another way for having been in a larger batch, or on a device that multiplies in TF32.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ensembles.rng import generator

_PIECE = 32  # pixels of a column that are blurred by one matrix


class Draws:
    """Draws for images ``start`` to ``start + size``: row i of each is of shape ``shape`` and from image i's generator.

    So what an image gets depends on the key and on its own index, not on the batch that it comes in. The numbers are
    drawn on the CPU and then moved, so they are the same on every device.
    """

    def __init__(self, *key: int | str, start: int, size: int, device: torch.device):
        self._generators = [generator(*key, start + i) for i in range(size)]
        self._device = device

    def normal(self, *shape: int) -> Tensor:
        return self._fill(shape, torch.float32, lambda row, g: row.normal_(generator=g))

    def uniform(self, *shape: int) -> Tensor:
        return self._fill(shape, torch.float32, lambda row, g: row.uniform_(generator=g))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Draw from ``low`` to ``high - 1``."""
        return self._fill(shape, torch.int64, lambda row, g: row.random_(low, high, generator=g))

    def poisson(self, rates: Tensor) -> Tensor:
        """Draw counts for ``rates``, shape (N, ...)."""
        rows = [torch.poisson(row, generator=g) for row, g in zip(rates.cpu(), self._generators, strict=True)]
        return torch.stack(rows).to(self._device)

    def _fill(self, shape, dtype, draw) -> Tensor:
        out = torch.empty(len(self._generators), *shape, dtype=dtype)
        for row, g in zip(out, self._generators, strict=True):
            draw(row, g)
        return out.to(self._device)


def gaussian_blur_of(x: Tensor, sigma: float, border: str = "nearest", truncate: float = 4) -> Tensor:
    """Blur x (N, C, H, W) by a Gaussian that is cut off at ``truncate`` standard deviations."""
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    weights, blurred = weights / weights.sum(), x.double()
    for _ in range(2):
        blurred = _blurred_columns(blurred, weights, border).transpose(-1, -2)
    return blurred.to(x.dtype)


def clipped_zoom(x: Tensor, factor: float) -> Tensor:
    """Zoom into the middle of x (N, C, H, W) by linear interpolation, keeping its shape."""
    shape = x.shape[-2:]
    crop = [math.ceil(size / factor) for size in shape]
    top, left = ((size - kept) // 2 for size, kept in zip(shape, crop, strict=True))
    zoomed = functional.interpolate(
        x[..., top : top + crop[0], left : left + crop[1]],
        size=[round(kept * factor) for kept in crop],
        mode="bilinear",
        align_corners=True,
    )
    top, left = ((zoomed.shape[dim] - x.shape[dim]) // 2 for dim in (-2, -1))
    return zoomed[..., top : top + shape[0], left : left + shape[1]]


def _blurred_columns(x: Tensor, weights: Tensor, border: str) -> Tensor:
    """Convolve the columns of x (..., H, W), piece by piece: of a whole column's matrix most are zeros."""
    size, radius = x.shape[-2], len(weights) // 2
    source = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)
    if border == "nearest":
        source = source.clamp(0, size - 1)
    else:  # "mirror": c b a | a b c
        source = torch.minimum(source % (2 * size), -(source + 1) % (2 * size))
    matrix = torch.zeros(size, size, dtype=x.dtype).scatter_add_(1, source, weights.expand(size, -1)).to(x.device)
    pieces = []
    for start in range(0, size, _PIECE):
        seen = slice(max(0, start - radius), start + _PIECE + radius)
        pieces.append(matrix[start : start + _PIECE, seen] @ x[..., seen, :])
    return torch.cat(pieces, -2)


_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def grey(x: Tensor) -> Tensor:
    """Turn images (N, C, H, W) with C = 1 or 3 grey, (N, 1, H, W)."""
    return x if x.shape[1] == 1 else (x * like(x, _LUMA)).sum(1, keepdim=True)


def like(x: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """Shape a colour as (1, C, 1, 1), or its grey where x (N, C, H, W) has one channel."""
    if x.shape[1] == 1:
        colour = (sum(c * weight for c, weight in zip(colour, _LUMA, strict=True)),)
    return torch.tensor(colour, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
