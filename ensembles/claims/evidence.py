"""The numbers that claims are judged on: means with intervals of their differences, and the results they come from."""

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ensembles.claims.schema import CIFAR10, COST, COUNTED, TIMED, Comparison, Evidence, Quantity, is_row
from ensembles.cli.overrides import check
from ensembles.errors import UserError, reason
from ensembles.files import load_json
from ensembles.papers.scales import SMALL
from ensembles.reports.agreement import welch
from ensembles.reports.collected import CollectedRun, collected_runs
from ensembles.reports.paper_result import FULL
from ensembles.reports.per_image import images_file, load_per_image
from ensembles.reports.schema import repeated_over
from ensembles.reproduction.running import runs_of
from ensembles.studies import bootstrap
from ensembles.studies.bootstrap import own_members
from ensembles.studies.collection import read_times
from ensembles.studies.study import Study

SEEDS = "seeds"
LEVEL = 0.95  # of intervals: one-sided tests at 2.5 %
POWER = 0.8
MOST = 100  # seeds that are worth counting up to
COUNTING, OURS = "networks counted", "CIFAR-10 with a small network"
THEIRS = "tables and figures in the paper's setting, as far as it is printed"
OTHERS, SPEEDS = "figures of another network than the paper's", "speeds at small scale"
OF_IMAGES = {"test/acc": ("correct", 1), "test/nll": ("log_likelihood", -1)}  # means of what is kept of each image


@dataclass(frozen=True)
class Estimate:
    """A number.

    Attributes:
        mean: over seeds.
        parts: of each of the samples that it is made of the variance between seeds and the number of seeds; none for a
            number without a spread, such as a count of parameters.
        by_seed: the numbers, where they are known.
        images: seed -> what each test image contributes (N,), where the numbers are means over images.
        error: its standard error, where a figure tells one instead.
        over: what the samples are of, seeds or rounds of timing.
    """

    mean: float
    parts: tuple[tuple[float, int], ...] = ()
    by_seed: Mapping[int, float] | None = None
    images: Mapping[int, np.ndarray] | None = field(default=None, compare=False)
    error: float = 0.0
    over: str = SEEDS

    @classmethod
    def of(cls, by_seed: Mapping[int, float], images: Mapping[int, np.ndarray] | None = None) -> "Estimate":
        """Make one from a number for each seed."""
        values = list(by_seed.values())
        variance = statistics.variance(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), ((variance, len(values)),), dict(by_seed), images)

    @property
    def is_single(self) -> bool:
        """Say whether a sample of one seed is in it, of which no spread is known."""
        return any(n < 2 for _, n in self.parts)

    def times(self, factor: float) -> "Estimate":
        by_seed, images = (
            of and {seed: factor * value for seed, value in of.items()} for of in (self.by_seed, self.images)
        )
        parts = tuple((factor**2 * v, n) for v, n in self.parts)
        return Estimate(factor * self.mean, parts, by_seed, images, abs(factor) * self.error, self.over)

    def minus(self, other: "Estimate", paired: bool = False) -> "Estimate":
        """Subtract: image by image and seed by seed where both have images, else seed by seed if ``paired``, else as
        independent samples, as in Welch's test."""
        one, two = self.seeds_in_common(other, paired)
        if one.images and two.images and one.images.keys() == two.images.keys():
            images = {seed: of - two.images[seed] for seed, of in one.images.items()}
            return Estimate.of({seed: float(of.mean()) for seed, of in images.items()}, images)
        if paired and one.by_seed and two.by_seed and one.by_seed.keys() == two.by_seed.keys():
            return Estimate.of({seed: of - two.by_seed[seed] for seed, of in one.by_seed.items()})
        error = math.hypot(self.error, other.error)
        over = self.over if self.parts else other.over
        return Estimate(self.mean - other.mean, self.parts + other.parts, error=error, over=over)

    def seeds_in_common(self, other: "Estimate", paired: bool = False) -> tuple["Estimate", "Estimate"]:
        """Keep of both the seeds that both have, if any, where they are compared by seed."""
        if not (self.images and other.images) and not (paired and self.by_seed and other.by_seed):
            return self, other
        common = sorted(self.by_seed.keys() & other.by_seed.keys())
        return (self._at(common), other._at(common)) if common else (self, other)

    def _at(self, seeds: Sequence[int]) -> "Estimate":
        images = self.images and {seed: self.images[seed] for seed in seeds}
        return Estimate.of({seed: self.by_seed[seed] for seed in seeds}, images)

    def members_mean(self, M: int) -> "Estimate":
        """Average the networks that are an ensemble's of M, by the ensemble's seed; itself where no seeds are known.

        Raises:
            Missing: no ensemble has all of its networks.
        """
        if not self.by_seed:
            return self
        own = own_members(self.by_seed, M)
        if not own:
            raise Missing(f"no ensemble has all of its {M} networks yet")

        def means(of: Mapping[int, Any]) -> dict[int, Any]:
            return {s: sum(of[member] for member in members) / M for s, members in own.items()}

        return Estimate.of(means(self.by_seed), self.images and means(self.images))

    def interval(self) -> tuple[float, float]:
        """Find a confidence interval by the bootstrap over images and seeds, or by the t distribution; it is everything
        where a spread is not known."""
        if self.is_single:
            return -math.inf, math.inf
        if self.images:
            found = bootstrap.mean(np.stack(list(self.images.values())))
            return found.low, found.high
        error, freedom = welch(self.parts)
        error = math.hypot(error, self.error)
        half = error and stats.t.ppf((1 + LEVEL) / 2, freedom) * error
        return self.mean - half, self.mean + half

    def seeds_needed(self, distance: float) -> int | None:
        """Count the seeds of each sample that would tell a difference of ``distance`` at the measured spread.

        Returns:
            the number that does it with a probability of `POWER`, more than there are; None where no spread over seeds
            is known or `MOST` are not enough.
        """
        if self.is_single or self.error or self.over != SEEDS or distance <= 0:
            return None
        fewest = max((n for _, n in self.parts), default=1) + 1
        for seeds in range(fewest, MOST + 1):
            error, freedom = welch([(v, seeds) for v, _ in self.parts])
            if self.images:
                error, freedom = math.hypot(error, self._error_of_images), math.inf
            if not error:
                return seeds
            quantile = stats.t.ppf((1 + LEVEL) / 2, freedom)
            power = stats.norm.sf(quantile - distance / error)
            if math.isfinite(freedom):
                power = stats.nct.sf(quantile, freedom, distance / error)
            if power >= POWER:
                return seeds
        return None

    @cached_property
    def _error_of_images(self) -> float:
        """Find the standard error that the choice of test images leaves, however many seeds there are."""
        of = np.stack(list(self.images.values()))
        return math.sqrt(max(0.0, of.mean(0).var() - of.var(0, ddof=1).mean() / len(of)) / of.shape[1])


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Average several rows, seed by seed over the seeds that all have; of what has no seeds, such as costs, at once."""
    if len(estimates) == 1:
        return estimates[0]
    if not all(one.by_seed for one in estimates):
        return Estimate(statistics.fmean(one.mean for one in estimates))
    common = set.intersection(*(set(one.by_seed) for one in estimates))
    return Estimate.of({seed: statistics.fmean(one.by_seed[seed] for one in estimates) for seed in sorted(common)})


class Missing(LookupError):
    """A number that is not there; its message says which and why."""


@dataclass(frozen=True)
class Source:
    """Where numbers come from.

    Attributes:
        group: of settings, to be counted by.
        scale: what a reader is told of the setting.
        rows: row -> seed -> results.
        data, findings: of a figure.
        places: (row, seed) -> the study's folder that has what the run says of each image.
        members: row -> the row whose networks, trained alone, are its members, and how many.
    """

    group: str
    scale: str
    rows: Mapping[str, Mapping[int, Mapping]]
    data: Sequence[Mapping] = ()
    findings: Sequence[str] = ()
    places: Mapping[tuple[str, int], Path] = field(default_factory=dict)
    members: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def sides(self, test: Comparison) -> tuple[Estimate, Estimate]:
        """Find the two numbers that a test compares; an ensemble of networks trained alone beside its own ones' mean.

        Raises:
            Missing: one is not there.
        """
        of, than = self.estimate(test.of), self.estimate(test.than)
        return self._compared_with(test.than.row, test.of.row, of), self._compared_with(
            test.of.row, test.than.row, than
        )

    def _compared_with(self, ensemble: str | None, row: str | None, of: Estimate) -> Estimate:
        """Average a row's networks where the ensemble that they are compared with is of them."""
        alone, M = self.members.get(ensemble or "", ("", 1))
        return of.members_mean(M) if row == alone else of

    def estimate(self, wanted: Quantity) -> Estimate:
        """Find the number that is wanted, with its spread over seeds.

        Raises:
            Missing: it is not there.
        """
        found = self._of(wanted)
        if wanted.less is not None:
            found = found.minus(self.estimate(wanted.less), paired=wanted.less.row == wanted.row)
        return found.times(wanted.times)

    def _of(self, wanted: Quantity) -> Estimate:
        if wanted.number is not None:
            return Estimate(wanted.number)
        if wanted.config is not None:
            return Estimate(counted(wanted.config)[wanted.metric])
        if wanted.row is not None:
            return self._over_seeds(wanted)
        if wanted.where is not None:
            return self._in_data(wanted)
        for sentence in self.findings:
            match = re.search(wanted.finding, sentence)
            if match:
                number, *error = map(float, match.groups())
                return Estimate(number, error=sum(error))
        raise Missing(f"no finding of the figure matches {wanted.finding}")

    def _over_seeds(self, wanted: Quantity) -> Estimate:
        rows = [name for name in self.rows if is_row(wanted.row, name)]
        found = [_numbers(self.rows[name], wanted) for name in rows]
        if not found or not all(found):
            raise Missing(f"{wanted.row} has no {wanted.metric} yet")
        if len(found) > 1 and not set.intersection(*map(set, found)):
            raise Missing(f"no seed has all rows of {wanted.row}")
        return mean_of([self._estimate(*of, wanted.metric) for of in zip(rows, found, strict=True)])

    def _estimate(self, row: str, numbers: Mapping[int, float], metric: str) -> Estimate:
        if metric in COUNTED + TIMED:
            return Estimate(statistics.fmean(numbers.values()))
        images = None
        if metric in OF_IMAGES and all((row, seed) in self.places for seed in numbers):
            key, sign = OF_IMAGES[metric]
            images = {seed: sign * _of_images(self.places[row, seed], row, seed)[key] for seed in numbers}
        return Estimate.of(numbers, images)

    def _in_data(self, wanted: Quantity) -> Estimate:
        chosen = [one for one in self.data if all(_same(one.get(key), value) for key, value in wanted.where.items())]
        numbers = [one[wanted.value] for one in chosen if isinstance(one.get(wanted.value), int | float)]
        if not numbers:
            what = ", ".join(f"{key} {value}" for key, value in wanted.where.items())
            raise Missing(f"the figure's data has no {wanted.value} at {what}")
        if len(numbers) == 1 and wanted.value == "mean" and "std" in chosen[0]:
            one, over = chosen[0], repeated_over(str(chosen[0].get("result", "")))
            variance = one["std"] ** 2 if isinstance(one["std"], int | float) else math.nan
            return Estimate(numbers[0], ((variance, one[over]),), over=over)
        return Estimate(statistics.fmean(numbers))


def _same(found: object, wanted: str | float) -> bool:
    """Say whether they are alike, as a figure's data may hold a setting as text."""
    return found == wanted or str(found) == str(wanted)


def _numbers(seeds: Mapping[int, Mapping], wanted: Quantity) -> dict[int, float]:
    """Find the metric for each seed that has it."""
    found = {}
    for seed, results in seeds.items():
        pattern = re.compile(re.escape(wanted.metric).replace(r"\*", "[^/]+"))
        values = [value for key, value in results.items() if pattern.fullmatch(key) and value not in (None, [])]
        if values:
            take = max if wanted.take == "max" else statistics.fmean
            found[seed] = statistics.fmean(take(value) if isinstance(value, list) else value for value in values)
    return found


@cache
def _of_images(folder: Path, row: str, seed: int) -> dict[str, np.ndarray]:
    return load_per_image(images_file(folder, row, seed))


def sources(evidence: Evidence, folders: Sequence[Path]) -> Iterator[Source]:
    """Find the results that are there, at each scale."""
    if evidence.source == COST:
        yield Source(COUNTING, "the paper's networks, counted", {})
    elif evidence.source == CIFAR10:
        yield from _study(folders)
    else:
        for scale in (FULL, SMALL) if evidence.any_scale else (FULL,):
            for folder in folders:
                path = folder / (f"{evidence.source}.json" if scale == FULL else f"{evidence.source}-{scale}.json")
                if path.is_file():
                    yield _written(path, evidence.instead)


def study_runs(folders: Sequence[Path]) -> dict[str, dict[int, CollectedRun]]:
    """Read the runs that the folders' studies of CIFAR-10 have collected, by row and seed; the first of two alike."""
    found: dict[str, dict[int, CollectedRun]] = {}
    for folder in folders:
        for row, runs in collected_runs(folder / CIFAR10).items():
            found[row] = {**runs, **found.get(row, {})}
    return found


def _study(folders: Sequence[Path]) -> Iterator[Source]:
    """Read the studies of CIFAR-10; times, which have no seeds, are of each seed of a row, or of one."""
    rows = {row: {seed: run.results for seed, run in of.items()} for row, of in study_runs(folders).items()}
    places = [folder / CIFAR10 for folder in folders]
    times = {row: of for place in reversed(places) for row, of in read_times(place).items()}
    for row, of in times.items():
        timed = {f"times/{work}": ratio for work, ratio in of.items()}
        rows[row] = {seed: {**results, **timed} for seed, results in rows.get(row, {0: {}}).items()}
    images = {
        (row, seed): place
        for place in reversed(places)
        for row, runs in rows.items()
        for seed in runs
        if images_file(place, row, seed).is_file()
    }
    members = {
        row: (about.members, len(results["members/acc"]))
        for place in places
        if (place / "study.yaml").is_file()
        for row, about in Study.of(place).rows.items()
        if about.members
        for results in rows.get(row, {}).values()
        if "members/acc" in results
    }
    if rows:
        yield Source(OURS, "all of CIFAR-10 with a small network", rows, places=images, members=members)


def _written(path: Path, instead: str | None) -> Source:
    """Read a table or figure as scripts/reproduce.py writes it.

    Args:
        instead: what stands in for the paper's setting in it.

    Raises:
        UserError: a damaged file.
    """
    try:
        value = load_json(path)
        rows = {
            ", ".join(line["names"]): {run["seed"]: run["results"] for run in line["runs"] if run["results"]}
            for line in value["lines"]
        }
        is_full = value["scale"] == FULL
        at = f"{value['cites']} as in {path.stem}" if is_full else f"{value['scale']} scale of {value['cites']}"
        group = SPEEDS if not is_full else OTHERS if instead else THEIRS
        at = f"{at}, {instead}" if instead else at
        return Source(group, at, rows, value.get("data", ()), value.get("findings", ()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): mend it or write it again.") from error


@cache
def counted(overrides: tuple[str, ...]) -> Mapping[str, float]:
    """Count what the network of a configuration costs, without training: the metrics `COUNTED`.

    Raises:
        UserError: overrides that cannot work.
    """
    from ensembles.cost import describe  # with torch, which takes seconds to import

    check(list(overrides))
    return describe(runs_of(list(overrides))[0].config)
