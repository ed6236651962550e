"""The claims of a paper, as its claims.yaml states them. Torch is not imported here."""

import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ensembles import papers
from ensembles.errors import UserError, reason
from ensembles.files import load_yaml
from ensembles.recipes import CONFIGS
from ensembles.reports.schema import CRITERIA

CIFAR10, COST = "cifar10", "cost"  # beside the papers' tables and figures, what a claim can be judged on
ROWS = tuple(sorted(path.stem for path in (CONFIGS / "experiment" / CIFAR10).glob("*.yaml")))  # of cifar10/runs.json
SCORES = "acc|nll|ece|aece|cece|brier|aurc"
METRIC = re.compile(
    rf"(test|members)/({SCORES})|corrupted/(acc|nll|ece|mce|brier|aurc|members_acc|disagreement)|shift/\w+/(acc|nll|ece|anchor_acc|pmk_acc)"
    rf"|ood/(\w+|\*)/({'|'.join(CRITERIA)})/(auroc|aupr|fpr95)|diversity/(disagreement|kl|ratio)|times/(train|predict)"
    r"|cost/(params|member_params|mult_adds|forward_passes|images_per_second|ms_per_image)"
)
KINDS = ("row", "where", "finding", "config", "number")
TIMED = ("times/train", "times/predict")  # of a study's times.json: in the single network's, one number a row
COUNTED = ("cost/params", "cost/member_params", "cost/mult_adds", "cost/forward_passes")  # the same for every seed


class ClaimPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quantity(ClaimPart):
    """A number to be compared; one of ``row``, ``where``, ``finding``, ``config`` and ``number`` says whose.

    Attributes:
        row: of the runs or the table, or a pattern such as ``M = 3, *`` for the mean over rows.
        metric: of results.json, or of a study's times, ``times/train``; ``ood/*/...`` is the mean over sets.
        take: of a list, such as the members' accuracies.
        where: keys of a figure's data that choose its entries.
        value: key of the number in these entries.
        finding: regular expression with a group for the number in a figure's findings, or another for its standard
            error too.
        config: overrides of train.py, whose network is counted.
        called: what a number of a figure is, for the reader.
        times: the number is multiplied by it.
        less: is subtracted before.
    """

    row: str | None = None
    metric: str | None = None
    take: Literal["mean", "max"] = "mean"
    where: dict[str, str | int | float] | None = None
    value: str | None = None
    finding: str | None = None
    called: str | None = None
    config: tuple[str, ...] | None = None
    number: float | None = None
    times: float = 1.0
    less: "Quantity | None" = None

    @model_validator(mode="after")
    def _is_one(self) -> "Quantity":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"it must have one of {', '.join(KINDS)}, but has {' and '.join(given) or 'none'}")
        if (self.row or self.config) and not (self.metric and METRIC.fullmatch(self.metric)):
            raise ValueError(f"metric is {self.metric!r}, but must be a key of results.json such as test/acc")
        if self.config and self.metric not in COUNTED:
            raise ValueError(f"metric is {self.metric!r}, but counted can be {', '.join(COUNTED)}")
        if self.where is not None and self.value is None:
            raise ValueError("value is missing: name the key of the number in the figure's data")
        if self.finding is not None and _groups(self.finding) not in (1, 2):
            raise ValueError("finding must be a regular expression with a group for the number, or two with its error")
        if self.finding is not None and self.called is None:
            raise ValueError("called is missing: say what the finding's number is")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    def parts(self) -> "list[Quantity]":
        """Itself and what is subtracted."""
        return [self, *(self.less.parts() if self.less else ())]


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"finding is no regular expression ({error})") from error


def _margin(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[\d.]+ %", value):
        return -float(value.removesuffix(" %")) / 100
    if not isinstance(value, int | float) or value < 0:
        raise ValueError("it must be a number of at least 0, or a share of what is compared with, such as 5 %")
    return value


class Comparison(ClaimPart):
    """A comparison that a claim implies.

    Attributes:
        of, than: what is compared; in the YAML a string is a row and a number a number, and both have ``metric``.
        expect: ``higher`` and ``lower`` are differences, ``at_least`` and ``at_most`` say "no worse", ``equal`` both.
        margin: the smallest difference of interest; a negative one is a share of what is compared with.
    """

    of: Quantity
    expect: Literal["higher", "lower", "at_least", "at_most", "equal"]
    than: Quantity
    margin: Annotated[float, BeforeValidator(_margin)]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        metric = value.get("metric")
        return {
            key: _quantity(part, metric) if key in ("of", "than") else part
            for key, part in value.items()
            if key != "metric"
        }

    def delta(self, than: float) -> float:
        """Find the margin as a number."""
        return -self.margin * abs(than) if self.margin < 0 else self.margin


def _quantity(value: object, metric: object) -> object:
    if isinstance(value, str):
        value = {"row": value}
    elif isinstance(value, int | float):
        value = {"number": value}
    if not isinstance(value, dict):
        return value
    if "less" in value:
        value = {**value, "less": _quantity(value["less"], metric)}
    return {"metric": metric, **value} if {"row", "config"} & value.keys() else value


class Evidence(ClaimPart):
    """Results that a claim is judged on, and what they must show.

    Attributes:
        source: ``cifar10``, the runs in cifar10/runs.json; ``cost``, networks that are counted; or a table or figure.
        tests: all must hold.
        any_scale: a figure's numbers do not depend on how well networks are trained, so that small scale counts too.
        instead: what stands in for the paper's network, as it is told beside the verdict.
    """

    source: str
    tests: Annotated[tuple[Comparison, ...], Field(min_length=1)]
    any_scale: bool = False
    instead: str | None = None

    @property
    def parts(self) -> list[Quantity]:
        """All quantities that it names."""
        return [part for test in self.tests for part in (*test.of.parts(), *test.than.parts())]

    @property
    def rows(self) -> list[str]:
        """The rows and patterns that it names."""
        return list(dict.fromkeys(part.row for part in self.parts if part.row))


class Claim(ClaimPart):
    """A testable statement.

    Attributes:
        id: its name, unique in the paper.
        claim: in our words.
        where: in the paper.
        evidence: in the order of what weighs most.
        checked: what was looked at where it does not hold, to rule out a fault of ours; or what limits the verdict.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    claim: Annotated[str, Field(min_length=20)]
    where: Annotated[str, Field(min_length=4)]
    evidence: Annotated[tuple[Evidence, ...], Field(min_length=1)]
    checked: str | None = None


class Claims(ClaimPart):
    """A paper's claims.

    Attributes:
        paper: its citation.
    """

    paper: str
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]


def load(paper: str, root: Path = papers.HOME) -> Claims:
    """Read a paper's claims, and check that the rows, tables, figures and metrics they name exist.

    Raises:
        UserError: one sentence that names the file and the claim where it is wrong.
    """
    path = root / paper / papers.CLAIMS
    try:
        value = load_yaml(path)
        found = Claims.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{path}{_sentence(error, value)}.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): mend it or take it from the repository.") from error
    seen: set[str] = set()
    for claim in found.claims:
        if claim.id in seen:
            raise UserError(f"{path}, claim {claim.id}: another claim has the same id.")
        seen.add(claim.id)
        for evidence in claim.evidence:
            wrong = _wrong(evidence)
            if wrong:
                raise UserError(f"{path}, claim {claim.id}, source {evidence.source}: {wrong}.")
    return found


def all_claims(root: Path = papers.HOME) -> dict[str, Claims]:
    """Read all papers' claims, by the papers' names."""
    return {path.parent.name: load(path.parent.name, root) for path in sorted(root.glob(f"*/{papers.CLAIMS}"))}


def _sentence(error: ValidationError, value: object) -> str:
    """Say what is wrong first, and where."""
    first = error.errors()[0]
    where, here = "", value
    for step in first["loc"]:
        try:
            here = here[step]
        except (LookupError, TypeError):
            here = None
        if isinstance(step, int):
            where += f" {(here.get('id') if isinstance(here, dict) else None) or step + 1}"
        else:
            where += f", {step.removesuffix('s') if isinstance(here, list) else step}"
    known = {"extra_forbidden": "there is no such key", "missing": "it is missing"}
    message = known.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:].rstrip('.')}"


def _wrong(evidence: Evidence) -> str | None:
    """Say what the evidence names that is not there, or that its source cannot have."""
    of_figure = False
    if evidence.source == CIFAR10:
        kinds, rows = ("row", "number"), ROWS
    elif evidence.source == COST:
        kinds, rows = ("config", "number"), ()
    elif evidence.source in papers.names():
        of = table(evidence.source)
        of_figure = of.is_figure
        kinds = ("row", "where", "finding", "number") if of_figure else ("row", "number")
        rows = tuple(row.name for row in of.rows)
    else:
        return f"there is no such table or figure: there are {CIFAR10}, {COST}, {', '.join(papers.names())}"
    if evidence.any_scale and not of_figure:
        return "any_scale is for figures: tables at small scale have the runs of cifar10"
    for part in evidence.parts:
        if part.kind not in kinds:
            return f"it has a {part.kind}, but can have {', '.join(kinds)}"
        if part.row is not None and not any(is_row(part.row, row) for row in rows):
            return f"there is no row {part.row!r}: there are {'; '.join(rows)}"
    return None


@cache
def table(name: str) -> papers.Table:
    """Read a table or figure, once."""
    return papers.load(name)


def is_row(wanted: str, name: str) -> bool:
    """Say whether a row's name is the one, or one of those that a pattern with * stands for."""
    return wanted == name or ("*" in wanted and fnmatchcase(name, wanted))
