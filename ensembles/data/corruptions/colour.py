"""The grey of a colour."""

import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def grey(x: Tensor) -> Tensor:
    """(N, C, H, W) with C = 1 or 3 -> (N, 1, H, W)."""
    return x if x.shape[1] == 1 else (x * like(x, _LUMA)).sum(1, keepdim=True)


def like(x: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """A colour as (1, C, 1, 1), or its grey where x (N, C, H, W) has one channel."""
    if x.shape[1] == 1:
        colour = (sum(c * weight for c, weight in zip(colour, _LUMA, strict=True)),)
    return torch.tensor(colour, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
