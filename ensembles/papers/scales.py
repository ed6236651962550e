"""Tables at less than the paper's scale: everything that then stands for something else is in scales.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from ensembles.errors import UserError
from ensembles.papers.tables import Column, Table

FILE = Path(__file__).with_name("scales.yaml")
IMAGES = "$images"  # in an override, the folder that --images names
FULL = "full"


@dataclass(frozen=True)
class Scale:
    """A scale.

    Attributes:
        name: full, small or smoke.
        images: a folder of CIFAR-10's images, or None.
        settings: what scales.yaml says of it; nothing at full scale.
    """

    name: str
    images: str | None
    settings: Mapping

    def seeds(self, table: Table) -> int:
        """How many runs of a row there are unless the user says so."""
        return self.settings.get("seeds", table.seeds)

    def applied(self, table: Table) -> Table:
        """The table with stand-ins for what its rows and columns ask for."""
        if self.name == FULL:
            return table
        rows = tuple(replace(row, overrides=self._overrides(row.overrides)) for row in table.rows)
        columns = tuple(replace(column, key=self._key(column)) for column in table.columns)
        return replace(table, rows=rows, columns=columns, scale=self.name, stands=self._stands(table))

    @cached_property
    def _data(self) -> Mapping:
        with_images = self.images is not None and "images" in self.settings
        return self.settings["images" if with_images else "otherwise"]

    @cached_property
    def _replacing(self) -> dict[str, Mapping]:
        entries = [*self.settings["replace"], *self._data["replace"]]
        return {override: entry for entry in entries for override in entry["of"]}

    def _overrides(self, overrides: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key in sorted(overrides, key=lambda key: "." in key):  # a group before what is set in it
            replacement = self._replaced(key, overrides[key])
            found |= {key: overrides[key]} if replacement is None else _texts(replacement["put"])
        found |= _texts(self.settings.get("add", {}))
        return {key: self.images if value == IMAGES else value for key, value in found.items()}

    def _replaced(self, key: str, value: str) -> Mapping | None:
        return self._data if key == "data" else self._replacing.get(f"{key}={value}")

    def _stands(self, table: Table) -> tuple[str, ...]:
        """What the reader is told, such as "WRN-16-1 for model=resnet18, model=resnet50"."""
        told: dict[str, dict[str, None]] = {}
        for row in table.rows:
            for key, value in row.overrides.items():
                replacement = self._replaced(key, value)
                if replacement and "says" in replacement:
                    told.setdefault(str(replacement["says"]), {})[f"{key}={value}"] = None
        said = [self.settings["says"]] if "says" in self.settings else []
        return (*said, *(f"{what} for {', '.join(of)}" for what, of in told.items()))

    def _key(self, column: Column) -> str | None:
        for ours, theirs in {**self.settings["keys"], **self._data["keys"]}.items():
            if column.key == ours or column.key.startswith(f"{ours}/"):
                return theirs and theirs + column.key.removeprefix(ours)
        return column.key


def _texts(overrides: Mapping) -> dict[str, str]:
    """Values as the command line writes them."""
    return {key: _text(value) for key, value in overrides.items()}


def _text(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def names() -> list[str]:
    return [FULL, *_file()]


def scale(name: str = FULL, images: str | None = None) -> Scale:
    """The scale of a name.

    Args:
        images: a folder of CIFAR-10's images, which then stand for all data sets.

    Raises:
        UserError: no such scale, or images for the full one.
    """
    if name not in names():
        raise UserError(f"There is no scale {name}: there are {', '.join(names())}.")
    if images is not None and name == FULL:
        raise UserError("--images is for --scale small: at full scale a table is run on the paper's data.")
    if images is not None and not Path(images).is_dir():
        raise UserError(f"--images {images} is no folder: it must hold train/<class>/ and test/<class>/.")
    return Scale(name, images, {} if name == FULL else _file()[name])


def _file() -> dict:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
