"""Dropout masks that follow from the image, so that a prediction depends neither on its batch nor on its process.

Each element's mask is a hash of (image, salt, layer, place): the same on every device, nothing to save or synchronise.
"""

import math

import torch
from torch import Tensor

LEVELS = 16  # steps to a standard deviation to which an image is rounded, so that rounding errors change no mask
MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)  # of Wellons' "lowbias32" hash, as signed integers
MIXED = -0x61C88647  # odd, so that its multiples tell layers apart


def keys(x: Tensor, salt: int) -> Tensor:
    """A number for each image, (B, ...) -> (B,) int32."""
    levels = (x.detach().float() * LEVELS).round().to(torch.int32).flatten(1)
    places = _mix(torch.arange(levels.shape[1], dtype=torch.int32, device=x.device))
    return _mix((levels * places).sum(1).to(torch.int32) ^ _signed(salt))


def drop(x: Tensor, keys: Tensor, layer: int, rate: float) -> Tensor:
    """Zero a share ``rate`` of the elements of x, (B, ...), and scale the others up to keep the mean.

    Args:
        keys: (B,), from `keys`.
        layer: tells the places in a network where elements are dropped.
    """
    parts = x.shape[0] // keys.shape[0]  # windows, say, into which an image was cut
    channels_last = x.dim() == 4  # the masks' order in memory is the images'
    shape = [x.shape[i] for i in (2, 3, 1)] if channels_last else list(x.shape[1:])
    size = parts * math.prod(shape)
    places = _mix(torch.arange(size, dtype=torch.int32, device=x.device) + _signed(layer * MIXED))
    numbers = _scramble(keys[:, None] ^ places)
    kept = (numbers >= round(rate * 2**32) - 2**31).view(x.shape[0], *shape)
    if channels_last:
        kept = kept.permute(0, 3, 1, 2)
    return x * kept * (1 / (1 - rate))


def _mix(numbers: Tensor) -> Tensor:
    numbers = _scramble(numbers ^ ((numbers >> 16) & 0xFFFF))
    return numbers ^ ((numbers >> 16) & 0xFFFF)


def _scramble(numbers: Tensor) -> Tensor:
    """Spread every bit of already mixed numbers over the high bits, in place."""
    numbers *= MULTIPLIERS[0]
    numbers ^= (numbers >> 15) & 0x1FFFF
    numbers *= MULTIPLIERS[1]
    return numbers


def _signed(number: int) -> int:
    """The number modulo 2^32 as a signed 32-bit integer."""
    return (number + 2**31) % 2**32 - 2**31
