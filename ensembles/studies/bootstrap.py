"""Intervals and comparisons by resampling test images, with seeds as blocks; paired between rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES, AT_ONCE = 10_000, 500
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and images.

    Attributes:
        low, high: its 95 % interval (percentiles of the bootstrap).
        p: of a difference: the probability of one at least as far from 0 if there were none, two-sided; never below
            2 / RESAMPLES.
    """

    mean: float
    low: float
    high: float
    p: float | None = None


def mean(values: np.ndarray) -> Estimate:
    """Estimate the mean of values (S, N) of S seeds and N images."""
    return _estimate(values, _resampled(values))


def difference(one: np.ndarray, other: np.ndarray) -> Estimate:
    """Estimate the difference of means of (S, N) and (S, N): the same seeds, and the same images, of two rows."""
    samples = _resampled(one - other)
    tail = min((samples <= 0).mean(), (samples >= 0).mean())
    return _estimate(one - other, samples, p=min(1.0, max(2 * tail, 2 / RESAMPLES)))


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for all of them being looked at (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = least
    return adjusted


def _estimate(values: np.ndarray, samples: np.ndarray, p: float | None = None) -> Estimate:
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(values.mean(), low, high, p)


def _resampled(values: np.ndarray) -> np.ndarray:
    """Means of (S, N) under resampled images and seeds, (RESAMPLES,); the same draws for the same shape."""
    columns = values.T.astype(np.float32)
    sums = ((times.astype(np.float32) @ columns * picked).sum(1) for times, picked in _draws(*values.shape))
    return np.concatenate(list(sums)) / values.size


@lru_cache(maxsize=2)  # 100 MB for 10,000 images; drawing takes longer than all else
def _draws(seeds: int, images: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """How often each image (AT_ONCE, N) and each seed (AT_ONCE, S) is drawn."""
    random = np.random.default_rng(0)
    return [
        (
            random.multinomial(images, np.full(images, 1 / images), AT_ONCE).astype(np.uint8),
            random.multinomial(seeds, np.full(seeds, 1 / seeds), AT_ONCE),
        )
        for _ in range(RESAMPLES // AT_ONCE)
    ]
