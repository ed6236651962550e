"""Binary masks over channels with a chosen overlap (Masksembles, Durasov et al., 2021, section 3.2)."""

import math

import torch
from torch import Tensor


def channel_masks(channels: int, M: int, scale: float, generator: torch.Generator) -> Tensor:
    """M masks of 0 and 1, (M, channels), each with equally many ones, such that each channel is some mask's.

    The paper puts a mask's ones at random among ``scale`` times as many places and drops the places that no mask uses.
    What is left is random in width; here the width is given. So the number of ones is the one with which that many
    places are expected to be left, and masks are drawn until as many are.

    Args:
        scale: 1 for masks that are all ones; the larger, the less masks overlap.
    """
    ones = active(channels, M, scale)
    if ones * M == channels:  # nothing may overlap
        order = torch.randperm(channels, generator=generator, device="cpu")
        return torch.nn.functional.one_hot(order % M, M).T.float()
    places = _places(channels, M, ones)
    while True:
        used = torch.zeros(M, places, device="cpu")
        for mask in used:
            mask[torch.randperm(places, generator=generator, device="cpu")[:ones]] = 1
        used = used[:, used.any(0)]
        if used.shape[1] == channels:
            return used


def active(channels: int, M: int, scale: float) -> int:
    """How many channels a mask keeps: M masks use a share 1 - (1 - 1/scale)^M of scale times as many places."""
    ones = channels / (scale * (1 - (1 - 1 / scale) ** M))
    return max(round(ones), math.ceil(channels / M))


def _places(channels: int, M: int, ones: int) -> int:
    """The number of places of which M masks with so many ones are expected to use ``channels``."""
    places = channels
    while places * (1 - (1 - ones / places) ** M) < channels:
        places += 1
    return places
