"""A study's plan, study.yaml, and the runs that it consists of. Torch is not imported here."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError, reason
from ensembles.renamed import by_former_names
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
        rows: experiment -> what the table calls it, in the table's order.
        reference: the row to whose costs the others' are related.
        comparisons: pairs of rows, named before any was run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    experiments: str
    rows: Annotated[dict[str, str], Field(min_length=1)]
    reference: str
    comparisons: tuple[tuple[str, str], ...] = ()
    search: Search | None = None

    @model_validator(mode="after")
    def _names_rows(self) -> "Study":
        for name in (self.reference, *(name for pair in self.comparisons for name in pair)):
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
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise UserError(f"{folder} is no study's folder: it has no study.yaml.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}: mend it.") from error
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({reason(error)}): mend it.") from error

    def chosen(self, names: Iterable[str] | None) -> list[str]:
        """The rows of these names, in the table's order; all of them for None.

        Raises:
            UserError: a name that is no row's.
        """
        wanted = self.rows.keys() if names is None else set(names)
        for name in wanted:
            if name not in self.rows:
                raise UserError(f"The study has no row {name}: there are {', '.join(self.rows)}.")
        return [row for row in self.rows if row in wanted]

    def run(self, row: str, seed: int, overrides: Sequence[str] = ()) -> Run:
        """One run of a row.

        Raises:
            UserError: a configuration that cannot work.
        """
        words = [f"experiment={self.experiments}/{row}", *overrides]
        check(words)
        ((_, config),) = combinations(words)
        choices = config.hydra.runtime.choices
        del config.hydra
        return Run.of({**checked(config), "seed": seed}, choices)


def settings(config: Mapping) -> dict:
    """Keep what decides a row's numbers, wherever its data are, of a run's config; by former names, as it is stored."""
    config = by_former_names(config)
    data = {key: config["data"].get(key) for key in DATA}
    precision = config["trainer"]["precision"]
    return {key: config[key] for key in ("method", "model", "recipe")} | {"data": data, "precision": precision}
