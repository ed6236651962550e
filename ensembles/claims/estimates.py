"""Means with what is known of their spread, intervals of their differences, and how many seeds would narrow these."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats

LEVEL = 0.95  # of intervals: one-sided tests at 2.5 %
POWER = 0.8
MOST = 100  # seeds that are worth counting up to


@dataclass(frozen=True)
class Estimate:
    """A number.

    Attributes:
        mean: over seeds.
        parts: of each of the samples that it is made of the variance between seeds and the number of seeds; none for a
            number without a spread, such as a count of parameters.
        by_seed: the numbers, where they are known.
    """

    mean: float
    parts: tuple[tuple[float, int], ...] = ()
    by_seed: Mapping[int, float] | None = None

    @classmethod
    def of(cls, by_seed: Mapping[int, float]) -> "Estimate":
        """From a number for each seed."""
        values = list(by_seed.values())
        variance = statistics.variance(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), ((variance, len(values)),), dict(by_seed))

    @property
    def is_single(self) -> bool:
        """Whether a sample of one seed is in it, of which no spread is known."""
        return any(n < 2 for _, n in self.parts)

    def times(self, factor: float) -> "Estimate":
        by_seed = self.by_seed and {seed: factor * value for seed, value in self.by_seed.items()}
        return Estimate(factor * self.mean, tuple((factor**2 * v, n) for v, n in self.parts), by_seed)

    def minus(self, other: "Estimate", paired: bool = False) -> "Estimate":
        """The difference: of independent samples, as in Welch's test, or seed by seed."""
        if paired and self.by_seed and other.by_seed:
            common = self.by_seed.keys() & other.by_seed.keys()
            if common:
                return Estimate.of({seed: self.by_seed[seed] - other.by_seed[seed] for seed in sorted(common)})
        return Estimate(self.mean - other.mean, self.parts + other.parts)

    def interval(self) -> tuple[float, float]:
        """A confidence interval by the t distribution; everything where a spread is not known."""
        if self.is_single:
            return -math.inf, math.inf
        error, freedom = _error(self.parts)
        half = error and stats.t.ppf((1 + LEVEL) / 2, freedom) * error
        return self.mean - half, self.mean + half

    def seeds_to_tell(self, distance: float) -> int | None:
        """How many seeds of each sample would tell a difference of ``distance`` from none, at the measured spread.

        Returns:
            the number that does it with a probability of `POWER`, more than there are; None where no spread is known
            or `MOST` are not enough.
        """
        if self.is_single or distance <= 0:
            return None
        fewest = max((n for _, n in self.parts), default=1) + 1
        for seeds in range(fewest, MOST + 1):
            error, freedom = _error([(v, seeds) for v, _ in self.parts])
            if not error:
                return seeds
            quantile = stats.t.ppf((1 + LEVEL) / 2, freedom)
            if stats.nct.sf(quantile, freedom, distance / error) >= POWER:
                return seeds
        return None


def _error(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The standard error of a sum of independent means and its degrees of freedom, by Welch and Satterthwaite."""
    squares = [v / n for v, n in parts]
    total = sum(squares)
    if not total:
        return 0.0, math.inf
    return math.sqrt(total), total**2 / sum(s**2 / (n - 1) for s, (_, n) in zip(squares, parts, strict=True))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Of several rows, seed by seed over the seeds that all have."""
    if len(estimates) == 1:
        return estimates[0]
    common = set.intersection(*(set(one.by_seed or {}) for one in estimates))
    return Estimate.of({seed: statistics.fmean(one.by_seed[seed] for one in estimates) for seed in sorted(common)})


def exact(estimate: Estimate) -> Estimate:
    """Without a spread."""
    return replace(estimate, parts=(), by_seed=None)
