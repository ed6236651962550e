"""The numbers that claims are judged on: means with intervals of their differences, and the results they come from."""

import json
import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from scipy import stats

from ensembles.claims.schema import CIFAR10, COST, COUNTED, Evidence, Quantity, is_row
from ensembles.errors import UserError, reason
from ensembles.reports.paper_result import FULL

LEVEL = 0.95  # of intervals: one-sided tests at 2.5 %
POWER = 0.8
MOST = 100  # seeds that are worth counting up to
RUNS = Path("cifar10") / "runs.json"
SMALL = "small"
COUNTING, THEIRS, OURS = "networks counted", "tables and figures at full scale", "CIFAR-10 with a small network"
T = TypeVar("T")
FIT = ("cost/", "diversity/")  # what undertrained networks still say something of


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


class CollectedRun(BaseModel):
    """An entry of runs.json, as far as it is used here."""

    model_config = ConfigDict(strict=True)

    row: str
    seed: int
    seconds: dict[str, float | None] | float | None = None
    results: dict[str, float | int | list[float] | None]

    def numbers(self) -> dict:
        """The results, with the seconds of training and test."""
        seconds = self.seconds if isinstance(self.seconds, dict) else {"train": self.seconds}
        return {**self.results, **{f"seconds/{part}": value for part, value in seconds.items()}}


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
        is_fit: whether its networks are trained well enough for any number to say something.
    """

    group: str
    scale: str
    rows: Mapping[str, Mapping[int, Mapping]]
    data: Sequence[Mapping] = ()
    findings: Sequence[str] = ()
    is_fit: bool = True

    def estimate(self, wanted: Quantity, any_scale: bool = False) -> Estimate:
        """The number that is wanted, with its spread over seeds.

        Raises:
            Missing: it is not there, or says nothing at this scale.
        """
        found = self._of(wanted, any_scale)
        if wanted.less is not None:
            found = found.minus(self.estimate(wanted.less, any_scale), paired=wanted.less.row == wanted.row)
        return found.times(wanted.times)

    def _of(self, wanted: Quantity, any_scale: bool) -> Estimate:
        if wanted.number is not None:
            return Estimate(wanted.number)
        if wanted.config is not None:
            return Estimate(counted(wanted.config, wanted.metric))
        if not self.is_fit and not any_scale and not (wanted.metric or "").startswith(FIT):
            raise Missing(f"the networks of the {SMALL} scale are undertrained and say nothing of this")
        if wanted.row is not None:
            return self._over_seeds(wanted)
        if wanted.where is not None:
            return self._in_data(wanted)
        for sentence in self.findings:
            match = re.search(wanted.finding, sentence)
            if match:
                return Estimate(float(match[1]))
        raise Missing(f"no finding of the figure matches {wanted.finding}")

    def _over_seeds(self, wanted: Quantity) -> Estimate:
        rows = [name for name in self.rows if is_row(wanted.row, name)]
        found = [_numbers(self.rows[name], wanted) for name in rows]
        if not found or not all(found):
            raise Missing(f"{wanted.row} has no {wanted.metric} yet")
        if len(found) > 1 and not set.intersection(*map(set, found)):
            raise Missing(f"no seed has all rows of {wanted.row}")
        return mean_of([_estimate(numbers, wanted.metric) for numbers in found])

    def _in_data(self, wanted: Quantity) -> Estimate:
        chosen = [one for one in self.data if all(_same(one.get(key), value) for key, value in wanted.where.items())]
        numbers = [one[wanted.value] for one in chosen if isinstance(one.get(wanted.value), int | float)]
        if not numbers:
            what = ", ".join(f"{key} {value}" for key, value in wanted.where.items())
            raise Missing(f"the figure's data has no {wanted.value} at {what}")
        if len(numbers) == 1 and wanted.value == "mean" and isinstance(chosen[0].get("std"), float):
            return Estimate(numbers[0], ((chosen[0]["std"] ** 2, chosen[0]["seeds"]),))
        return Estimate(statistics.fmean(numbers))


def _same(found: object, wanted: str | float) -> bool:
    """Whether they are alike, as a figure's data may hold a setting as text."""
    return found == wanted or str(found) == str(wanted)


def _numbers(seeds: Mapping[int, Mapping], wanted: Quantity) -> dict[int, float]:
    """The metric for each seed that has it."""
    found = {}
    for seed, results in seeds.items():
        pattern = re.compile(re.escape(wanted.metric).replace(r"\*", "[^/]+"))
        values = [value for key, value in results.items() if pattern.fullmatch(key) and value not in (None, [])]
        if values:
            take = max if wanted.take == "max" else statistics.fmean
            found[seed] = statistics.fmean(take(value) if isinstance(value, list) else value for value in values)
    return found


def _estimate(numbers: Mapping[int, float], metric: str) -> Estimate:
    if metric in COUNTED:
        return Estimate(statistics.fmean(numbers.values()))
    return Estimate.of(numbers)


def sources(evidence: Evidence, folders: Sequence[Path]) -> Iterator[Source]:
    """The results that are there, at each scale."""
    if evidence.source == COST:
        yield Source(COUNTING, "the paper's networks, counted", {})
    elif evidence.source == CIFAR10:
        rows = collected(folders)
        if rows:
            yield Source(OURS, "all of CIFAR-10 with a small network", rows)
    else:
        for scale in (FULL, SMALL):
            for folder in folders:
                path = folder / (f"{evidence.source}.json" if scale == FULL else f"{evidence.source}-{scale}.json")
                if path.is_file():
                    yield written(path)


def collected(folders: Sequence[Path]) -> dict[str, dict[int, dict]]:
    """The rows of the folders' runs.json.

    Raises:
        UserError: a damaged file, or a row with a seed twice.
    """
    rows: dict[str, dict[int, dict]] = {}
    for path in (folder / RUNS for folder in folders):
        if not path.is_file():
            continue
        for run in _read(path, TypeAdapter(list[CollectedRun]).validate_json):
            if run.seed in rows.setdefault(run.row, {}):
                raise UserError(f"{path}: {run.row} has seed {run.seed} twice: delete one of the two runs.")
            rows[run.row][run.seed] = run.numbers()
    return rows


def written(path: Path) -> Source:
    """A table or figure as scripts/reproduce.py writes it.

    Raises:
        UserError: a damaged file.
    """

    def source(text: str) -> Source:
        value = json.loads(text)
        rows = {
            ", ".join(line["names"]): {run["seed"]: run["results"] for run in line["runs"] if run["results"]}
            for line in value["lines"]
        }
        is_small = value["scale"] != FULL
        at = f"{value['scale']} scale of {value['cites']}" if is_small else f"{value['cites']} as in {path.stem}"
        group = f"{value['scale']} scale" if is_small else THEIRS
        return Source(group, at, rows, value.get("data", ()), value.get("findings", ()), not is_small)

    return _read(path, source)


def _read(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ", ".join(str(step + 1) if isinstance(step, int) else step for step in first["loc"])
        wrong = f"{', run ' if where else ''}{where}: {first['msg'].rstrip('.')}"
        raise UserError(f"{path}{wrong}: mend it or collect the runs again.") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): mend it or write it again.") from error


@cache
def counted(overrides: tuple[str, ...], metric: str) -> float:
    """What the network of a configuration costs, without training.

    Args:
        metric: one of `COUNTED`.

    Raises:
        UserError: overrides that cannot work.
    """
    from ensembles import cost  # with torch, which takes seconds to import
    from ensembles.cli.composing import checked
    from ensembles.cli.overrides import check, combinations
    from ensembles.cost import networks

    check(list(overrides))
    ((_, config),) = combinations(list(overrides))
    del config.hydra
    _, ensemble, backbone = networks(checked(config))
    if metric == "cost/params":
        return cost.parameters(ensemble)
    if metric == "cost/member_params":
        return cost.parameters(ensemble.member(0))
    mult_adds = cost.multiply_adds(ensemble, ensemble.input_shape)
    return mult_adds if metric == "cost/mult_adds" else mult_adds / cost.multiply_adds(backbone, ensemble.input_shape)
