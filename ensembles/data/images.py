"""Images in memory: one uint8 tensor, on the device where it fits, and its numbers for normalising."""

import os

import torch
from torch import Tensor

from ensembles.data.examples import Pool
from ensembles.errors import UserError

DEVICE_SHARE = 0.25  # of a device's free memory that images may take
HOST_SHARE = 0.7  # of this machine's memory


class Images(Pool):
    """A pool of uint8 images (N, C, H, W).

    It moves to the device that asks for a batch, once, where it takes a quarter of the free memory at most; else
    batches are gathered on the CPU.
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self._too_small: set[torch.device] = set()

    def gather(self, index: Tensor) -> Tensor:
        """The images at ``index`` (B,), as uint8 (B, C, H, W) on the index's device."""
        device = index.device
        if self.pixels.device != device and device not in self._too_small:
            if self._fits(device):
                self.pixels = self.pixels.to(device)
            else:
                self._too_small.add(device)
        return self.pixels.index_select(0, index.to(self.pixels.device)).to(device)

    def _fits(self, device: torch.device) -> bool:
        memory = getattr(torch.get_device_module(device), "mem_get_info", None)
        return memory is None or self.pixels.nbytes <= DEVICE_SHARE * memory(device)[0]


def statistics(pixels: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 images (N, C, H, W), on the scale of [0, 1].

    They come from the channels' histograms, in integers, so they do not depend on the order of summation.
    """
    values = range(256)
    means, deviations = [], []
    for channel in pixels.transpose(0, 1):
        counts = torch.bincount(channel.flatten(), minlength=256).tolist()
        n, first = sum(counts), sum(c * v for c, v in zip(counts, values, strict=True))
        second = sum(c * v * v for c, v in zip(counts, values, strict=True))
        means.append(first / n / 255)
        deviations.append(max(((n * second - first**2) / n**2) ** 0.5, 1.0) / 255)  # a constant channel stays finite
    return means, deviations


def require_memory(number: int, channels: int, size: int, where: object) -> None:
    """Check that so many images can be held in memory.

    Raises:
        UserError: they take more than 70 % of this machine's memory.
    """
    needed, present = number * channels * size**2, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > HOST_SHARE * present:
        raise UserError(
            f"The {number} images of {where} take {needed / 2**30:.1f} GiB at {size}x{size} pixels and this machine "
            f"has {present / 2**30:.1f} GiB of memory: set a smaller data.image_size."
        )
