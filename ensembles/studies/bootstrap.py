"""Intervals and comparisons by resampling test images, with seeds as blocks; paired between rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES, AT_ONCE = 10_000, 500
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and images, and its interval.

    Attributes:
        low, high: the 95 % interval (percentiles of the bootstrap).
        p: of a difference: the probability of one at least as far from 0 if there were none, two-sided; never below
            2 / RESAMPLES.
    """

    mean: float
    low: float
    high: float
    p: float | None = None


def mean(values: np.ndarray) -> Interval:
    """Estimate the mean of values (S, N) of S seeds and N images."""
    return _interval(values, _resampled(values))


def difference(one: np.ndarray, other: np.ndarray) -> Interval:
    """Estimate the difference of means of (S, N) and (S, N): the same seeds, and the same images, of two rows."""
    samples = _resampled(one - other)
    tail = min((samples <= 0).mean(), (samples >= 0).mean())
    return _interval(one - other, samples, p=min(1.0, max(2 * tail, 2 / RESAMPLES)))


def own_members(seeds: Iterable[int], M: int) -> dict[int, range]:
    """Find the seeds of the networks, trained alone, of which an ensemble of M consists, by the ensemble's seed.

    Ensemble s has those of seeds M s to M s + M - 1; ensembles of which a network is missing are left out.
    """
    there = set(seeds)
    found = {s: range(M * s, M * (s + 1)) for s in sorted({seed // M for seed in there})}
    return {s: members for s, members in found.items() if there.issuperset(members)}


def holm(p: Sequence[float]) -> np.ndarray:
    """Adjust p-values for all of them being looked at (Holm, 1979)."""
    p = np.asarray(p)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, np.arange(len(p), 0, -1) * p[order]))
    return adjusted


def _interval(values: np.ndarray, samples: np.ndarray, p: float | None = None) -> Interval:
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(values.mean(), low, high, p)


def _resampled(values: np.ndarray) -> np.ndarray:
    """Average (S, N) over resampled images and seeds, (RESAMPLES,); the same draws for the same shape."""
    columns = values.T.astype(np.float32)
    sums = ((times.astype(np.float32) @ columns * picked).sum(1) for times, picked in _draws(*values.shape))
    return np.concatenate(list(sums)) / values.size


@lru_cache(maxsize=2)  # 100 MB for 10,000 images; drawing takes longer than all else
def _draws(seeds: int, images: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw how often each image (AT_ONCE, N) and each seed (AT_ONCE, S) is taken."""
    random = np.random.default_rng(0)
    return [
        (
            random.multinomial(images, np.full(images, 1 / images), AT_ONCE).astype(np.uint8),
            random.multinomial(seeds, np.full(seeds, 1 / seeds), AT_ONCE),
        )
        for _ in range(RESAMPLES // AT_ONCE)
    ]
