"""Deterministic, stratified parts of a labelled set."""

import torch
from torch import Tensor

from ensembles.keyed import generator


def stratified(labels: Tensor, size: int, purpose: str, least: int = 0, spare: int = 0) -> Tensor:
    """Positions of a part in which each class has its share, in ascending order.

    The part depends on the labels and the purpose alone, and a smaller part lies within a larger one but for rounding.

    Args:
        labels: (N,) of integers from 0.
        size: examples in the part.
        purpose: parts for different purposes are drawn independently.
        least: examples that each class has in the part at least.
        spare: examples that each class has outside the part at least, where it has so many.
    """
    counts = labels.bincount()
    take = _shares(counts, size, counts.clamp(max=least), (counts - spare).clamp(min=0))
    groups = labels.argsort(stable=True).split(counts.tolist())
    chosen = [
        group[torch.randperm(len(group), generator=generator(purpose, label))[:number]]
        for label, (group, number) in enumerate(zip(groups, take.tolist(), strict=True))
    ]
    return torch.cat(chosen).sort().values


def _shares(counts: Tensor, size: int, low: Tensor, high: Tensor) -> Tensor:
    """Integers within [low, high] in proportion to the counts; their sum is the size where the limits allow it."""
    exact = counts.double() * size / counts.sum()
    take = exact.floor().long().clamp(min=low, max=high)
    while gap := size - take.sum().item():
        step = 1 if gap > 0 else -1
        lag = (exact - take) * step
        lag[(take + step < low) | (take + step > high)] = -torch.inf
        if lag.max() == -torch.inf:
            break
        take[lag.argmax()] += step
    return take
