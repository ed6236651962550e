"""Randomness of a batch in which every image has its own generator."""

import torch
from torch import Tensor

from ensembles.keyed import generator


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
        """From ``low`` to ``high - 1``."""
        return self._fill(shape, torch.int64, lambda row, g: row.random_(low, high, generator=g))

    def poisson(self, rates: Tensor) -> Tensor:
        """Counts for ``rates``, shape (N, ...)."""
        rows = [torch.poisson(row, generator=g) for row, g in zip(rates.cpu(), self._generators, strict=True)]
        return torch.stack(rows).to(self._device)

    def _fill(self, shape, dtype, draw) -> Tensor:
        out = torch.empty(len(self._generators), *shape, dtype=dtype)
        for row, g in zip(out, self._generators, strict=True):
            draw(row, g)
        return out.to(self._device)
