"""The results that claims are judged on: collected runs, written tables and figures, and networks that are counted."""

import json
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ensembles.claims.estimates import Estimate, mean_of
from ensembles.claims.schema import CIFAR10, COST, COUNTED, Evidence, Quantity, is_row
from ensembles.errors import UserError, reason
from ensembles.reports.entry import FULL

RUNS = Path("cifar10") / "runs.json"
SMALL = "small"
COUNTING, THEIRS, OURS = "networks counted", "tables and figures at full scale", "CIFAR-10 with a small network"
T = TypeVar("T")
FIT = ("cost/", "diversity/")  # what undertrained networks still say something of


class Run(BaseModel):
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
        for run in _read(path, TypeAdapter(list[Run]).validate_json):
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
