"""A study's plan, study.yaml, and the runs that it consists of. Torch is not imported here."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ensembles.cli.overrides import check
from ensembles.errors import UserError, reason
from ensembles.files import load_yaml
from ensembles.renamed import by_former_names
from ensembles.reproduction.running import runs_of
from ensembles.runs import Run

DATA = (
    "val_fraction",
    "train_size",
    "classes",
    "augment",
    "mix",
    "corrupt",
    "corruptions",
    "corrupted_size",
    "ood_sets",
)


class StudyRow(BaseModel):
    """A row: an experiment, and what it differs in.

    Attributes:
        name: what tables and plots call it.
        experiment: file in the study's folder of ``experiment``; by default of the row's key.
        settings: overrides of the experiment.
        members: row whose networks, each trained alone, are this ensemble's members: its seed s has those of seeds
            M s to M s + M - 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    experiment: str
    settings: dict[str, str | int | float | list[int]] = {}
    members: str | None = None

    @property
    def overrides(self) -> list[str]:
        return [f"{key}={value}" for key, value in self.settings.items()]


class Curves(BaseModel):
    """A plot of a few methods' accuracy and NLL against what rows differ in.

    Attributes:
        x: what is written below it.
        lines: what a line is called -> {x: row}.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    x: str
    lines: dict[str, dict[float, str]]


class Search(BaseModel):
    """A search for the learning rate, the same for each row.

    Attributes:
        rates: values of ``recipe.optimizer.lr``.
        settings: overrides that make a run of the search of one of the study.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rates: Annotated[tuple[float, ...], Field(alias="recipe.optimizer.lr", min_length=1)]
    settings: dict[str, str | int | float]


class Study(BaseModel):
    """What is compared.

    Attributes:
        experiments: folder of ``experiment`` that holds the rows.
        rows: by a short key, in the table's order; a row that is only a name is the experiment of its key.
        reference: the row to whose costs the others' are related.
        comparisons: pairs of rows, named before any was run.
        curves: plots by the names of their files.
        highlighted: rows with a colour of their own, and a line in plots that are of lines; all if none is named.
        notes: what a reader of the table should know, a paragraph each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    experiments: str
    rows: Annotated[dict[str, StudyRow], Field(min_length=1)]
    reference: str
    comparisons: tuple[tuple[str, str], ...] = ()
    curves: dict[str, Curves] = {}
    highlighted: tuple[str, ...] = ()
    search: Search | None = None
    notes: tuple[str, ...] = ()

    @field_validator("rows", mode="before")
    @classmethod
    def _named_rows(cls, rows: object) -> object:
        if not isinstance(rows, dict):
            return rows
        rows = {key: {"name": row} if isinstance(row, str) else row for key, row in rows.items()}
        return {key: {"experiment": key, **row} if isinstance(row, dict) else row for key, row in rows.items()}

    @model_validator(mode="after")
    def _names_rows(self) -> "Study":
        drawn = [row for curves in self.curves.values() for line in curves.lines.values() for row in line.values()]
        members = [row.members for row in self.rows.values() if row.members]
        for name in (
            self.reference,
            *(name for pair in self.comparisons for name in pair),
            *drawn,
            *members,
            *self.highlighted,
        ):
            if name not in self.rows:
                raise ValueError(f"{name} is none of its rows")
        return self

    @classmethod
    def of(cls, folder: Path) -> "Study":
        """Read the plan of a study's folder.

        Raises:
            UserError: no study.yaml, or one that is none.
        """
        path = folder / "study.yaml"
        try:
            return cls.model_validate(load_yaml(path))
        except FileNotFoundError as error:
            raise UserError(f"{folder} is no study's folder: it has no study.yaml.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}: mend it.") from error
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({reason(error)}): mend it.") from error

    def chosen(self, names: Iterable[str] | None) -> list[str]:
        """Choose the rows of these names, in the table's order; all of them for None.

        Raises:
            UserError: a name that is no row's.
        """
        wanted = self.rows.keys() if names is None else set(names)
        for name in wanted:
            if name not in self.rows:
                raise UserError(f"The study has no row {name}: there are {', '.join(self.rows)}.")
        return [row for row in self.rows if row in wanted]

    def overrides(self, row: str) -> list[str]:
        """Write a row as train.py takes it."""
        return [f"experiment={self.experiments}/{self.rows[row].experiment}", *self.rows[row].overrides]

    def commands(self, rows: Iterable[str]) -> list[list[str]]:
        """Write rows as multiruns of train.py, those of the same settings in one."""
        together: dict[tuple[str, ...], list[str]] = {}
        for row in rows:
            experiment, *settings = self.overrides(row)
            together.setdefault(tuple(settings), []).append(experiment.partition("=")[2])
        return [[f"experiment={','.join(names)}", *settings] for settings, names in together.items()]

    def run(self, row: str, seed: int, overrides: Sequence[str] = ()) -> Run:
        """Make one run of a row.

        Raises:
            UserError: a configuration that cannot work.
        """
        words = [*self.overrides(row), *overrides]
        check(words)
        return runs_of(words, [seed])[0]

    def members(self, row: str, seed: int, overrides: Sequence[str] = ()) -> list[Run]:
        """Make the runs whose networks are the members of a row's run; none where it trains its own.

        Raises:
            UserError: a configuration that cannot work.
        """
        if not (of := self.rows[row].members):
            return []
        M = self.run(row, seed, overrides).config["method"]["M"]
        return [self.run(of, each, overrides) for each in range(M * seed, M * (seed + 1))]


def settings(config: Mapping) -> dict:
    """Keep what decides a row's numbers, wherever its files are, of a run's config; by former names, as stored."""
    config = by_former_names(config)
    if config["method"].get("checkpoints"):
        config["method"] = {**config["method"], "checkpoints": []}
    data = {key: config["data"].get(key) for key in DATA}
    precision = config["trainer"]["precision"]
    return {key: config[key] for key in ("method", "model", "recipe")} | {"data": data, "precision": precision}
