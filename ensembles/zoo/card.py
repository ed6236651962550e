"""The card of a run: card.json, all that a leaderboard, a reader and a verification need of it. Imports no torch."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ConfigDict, Field, field_validator, model_validator

from ensembles.errors import UserError
from ensembles.files import load_text, parse_json
from ensembles.reports.runs_table import FinishedRun
from ensembles.reports.schema import MISSING, column, number
from ensembles.untrusted import Schema, refusal, require_plain

CARD, README = "card.json", "README.md"
LARGEST_CARD = 2**24  # bytes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+ -]{0,149}")
README_RESULTS = (  # results of the table in README.md, where there are such
    *("test/acc", "test/rmse", "test/nll", "test/ece", "test/brier", "members/acc", "members/rmse"),
    *("corrupted/acc", "corrupted/nll", "corrupted/ece", "diversity/disagreement", "cost/params", "cost/mult_adds"),
)
# of provenance.json
PROVENANCE_KEYS = ("command", "commit", "hardware", "python", "versions", "seconds", "seed", "recipe")

Line = Annotated[str, Field(max_length=2000)]
Word = Annotated[str, Field(min_length=1, max_length=100)]


class Contents(Schema):
    """What a file of the card's folder holds."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, lt=2**40)]


class Verified(Schema):
    """That somebody has evaluated the weights again and found the card's results."""

    by: Line | None = None
    commit: Line | None = None
    hardware: Line | None = None
    tolerance: float
    largest_difference: float


class Card(Schema):
    """A row of a leaderboard; of a run that was pushed also what its folder holds.

    Attributes:
        card: the version of this form.
        name: of the run.
        data, model, method: the options of these groups, or what comes nearest to them.
        members: M.
        settings: of the method, the model, the recipe and the data what is trained on, where they are known.
        results: flat, as in results.json.
        measured_by: who ran it.
        weights: where they are: a URL of a folder, hf://user/name, or None.
        files: of the card's folder, by their names.
        verified: None where the results are only reported.
    """

    model_config = ConfigDict(**Schema.model_config, extra="forbid")

    card: Literal[1]
    name: str
    data: Word
    model: Word
    method: Word
    members: Annotated[int, Field(ge=1, le=100_000)] | None = None
    settings: dict = Field(default_factory=dict)
    results: dict[str, float | int | list[float] | None]
    measured_by: Line | None = None
    note: Line | None = None
    command: Line | None = None
    commit: Line | None = None
    hardware: Line | None = None
    python: Line | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: dict[str, float | None] = Field(default_factory=dict)
    seed: int | None = None
    recipe: Line | None = None
    weights: Line | None = None
    files: dict[str, Contents] = Field(default_factory=dict)
    verified: Verified | None = None

    @field_validator("name")
    @classmethod
    def _is_a_file_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("must consist of letters, digits and . _ + - alone")
        return name

    @field_validator("weights")
    @classmethod
    def _is_a_place(cls, weights: str | None) -> str | None:
        if weights is not None and not re.match(r"(https?|hf)://[^\s]+$", weights):
            raise ValueError("must be a URL, https://..., or hf://user/name, or null")
        return weights

    @model_validator(mode="after")
    def _says_how_good(self) -> "Card":
        if not any(isinstance(self.results.get(key), float | int) for key in ("test/acc", "test/rmse")):
            raise ValueError("results has neither test/acc nor test/rmse")
        for key, value in self.results.items():
            if key.endswith("/acc") and not 0 <= (number(self.results, key) or 0) <= 1:
                raise ValueError(f"results.{key} is {value}, but is a share from 0 to 1")
        return self

    @classmethod
    def from_json(cls, text: str | bytes, path: object) -> "Card":
        """Read a card.

        Raises:
            UserError: it is none; the sentence names the key.
        """
        try:
            value = parse_json(text)
            require_plain(value, "it")
            cls.check(value, "it")
            return cls.model_validate(value)
        except Exception as error:  # of JSON in JSON, say
            raise refusal(path, error, "mend it, or have it written by ensembles push") from error

    @classmethod
    def load(cls, path: Path) -> "Card":
        """Read a card's file, likewise."""
        try:
            text = load_text(path)
        except (OSError, ValueError) as error:
            raise refusal(path, error, "mend it, or have it written by ensembles push") from error
        return cls.from_json(text, path)

    @classmethod
    def from_run(cls, run: FinishedRun, **more: object) -> "Card":
        """Make the card of a finished run, with what its folder or file says of it.

        Raises:
            UserError: results that are of no use to a card.
        """
        config = without_files(run.settings)
        settings = {key: config[key] for key in ("method", "model", "recipe") if isinstance(config.get(key), dict)}
        if isinstance(data := config.get("data"), dict) and "train_size" in data:
            settings["data"] = {"train_size": data["train_size"]}
        members = [len(value) for key, value in run.results.items() if key in ("members/acc", "members/rmse")]
        fields = {
            "card": 1,
            "name": run.name,
            "data": run.data_anywhere or MISSING,
            "model": run.model or MISSING,
            "method": run.method or MISSING,
            "members": members[0] if members and members[0] else None,
            "settings": settings,
            "results": dict(run.results),
            **{key: run.provenance[key] for key in PROVENANCE_KEYS if run.provenance.get(key) is not None},
            **more,
        }
        return cls.from_json(json.dumps(fields), run.folder)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    def readme(self) -> str:
        """Write the card in words, for who looks into the folder."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters["cell"] = markdown_cell
        rows = [
            (_label(key), column(key).unit, column(key).show(number(self.results, key)))
            for key in README_RESULTS
            if number(self.results, key) is not None
        ]
        return environment.get_template("README.md.jinja").render(card=self, rows=rows)


def without_files(config: Mapping) -> dict:
    """Copy a run's config without the files, on one machine, that its networks were made of or began from."""
    found = deepcopy(dict(config))
    method, model = (of if isinstance(of := found.get(key), dict) else {} for key in ("method", "model"))
    if method.get("checkpoints"):
        method["checkpoints"] = []
    if isinstance(model.get("pretrained"), str):
        model["pretrained"] = False
    if isinstance(model.get("kwargs"), dict):
        model["kwargs"].pop("checkpoint_path", None)
    return found


def _label(key: str) -> str:
    label = column(key).full or column(key).label
    return f"members' {label}" if key.startswith("members/") and "members" not in label else label


def markdown_cell(text: object) -> str:
    """Escape text so that it stays in its cell and place in Markdown, whatever it is."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*\[\]<>|#]|\b_|_\b)", r"\\\1", flat)


def largest_difference(one: object, other: object) -> float:
    """Measure by how much two results differ, of lists the most; infinity where they are not of one form."""
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        pairs = zip(one, other, strict=False)
        return math.inf if len(one) != len(other) else max((abs(a - b) for a, b in pairs), default=0.0)
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other)
    return 0.0 if one == other else math.inf


def require_same_results(card: Card, results: Mapping, path: Path) -> None:
    """See that a folder's results.json says what its card says.

    Raises:
        UserError: it says something else.
    """
    for key in {**card.results, **results}:
        if key not in results or key not in card.results or largest_difference(card.results[key], results[key]):
            raise UserError(f"{path} has another {key} than {CARD} beside it: have both written by ensembles push.")
