"""Blurring and resampling, one axis after the other.

Blurs and box resizing are matrices for the rows and for the columns: any border and any width is one matrix product.
The products are in double precision: the last step rounds down to whole grey levels, and an image should not come out
another way for having been in a larger batch, or on a device that multiplies in TF32.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_blur_of(x: Tensor, sigma: float, border: str = "nearest", truncate: float = 4) -> Tensor:
    """Gaussian blur of x (N, C, H, W), cut off at ``truncate`` standard deviations."""
    rows, columns = (_gaussian(size, sigma, border, truncate).to(x.device) for size in x.shape[-2:])
    return (rows @ x.double() @ columns.T).to(x.dtype)


def box_resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize x (N, C, H, W) as Pillow's box filter does, columns first, rounded to grey levels after each pass."""
    height, width = x.shape[-2:]
    rows, columns = (_box(old, new).to(x.device) for old, new in zip((height, width), size, strict=True))
    levels = (255 * x.double()).round()
    levels = (levels @ columns.T + 0.5).floor()
    return ((rows @ levels + 0.5).floor() / 255).to(x.dtype)


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


def _gaussian(size: int, sigma: float, border: str, truncate: float) -> Tensor:
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    source = torch.arange(size)[:, None] + offsets
    if border == "nearest":
        source = source.clamp(0, size - 1)
    else:  # "mirror": c b a | a b c
        source = source % (2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.double)
    return matrix.scatter_add_(1, source, (weights / weights.sum()).expand(size, -1))


def _box(old: int, new: int) -> Tensor:
    scale = old / new
    middle = (torch.arange(new, dtype=torch.double)[:, None] + 0.5) * scale
    distance = torch.arange(old) + 0.5 - middle
    reach = max(scale, 1) / 2
    inside = ((distance > -reach) & (distance <= reach)).double()
    return inside / inside.sum(1, keepdim=True)
