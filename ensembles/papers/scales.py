"""Tables at less than the paper's scale: everything that then stands for something else is in scales.yaml."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml
from hydra.core.override_parser.types import Quote, QuotedString

from ensembles.data.files.fingerprint import scan
from ensembles.errors import UserError
from ensembles.papers.table import Row, Table
from ensembles.reports.paper_result import FULL

FILE = Path(__file__).with_name("scales.yaml")
IMAGES = "$images"  # in an override, the folder that --images names


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
        """The table or figure with stand-ins for what its rows and columns ask for."""
        if self.name == FULL:
            return table if self.images is None else self._from_folder(table)
        own = table.scales.get(self.name, {})
        added = _texts(own.get("overrides", {}))
        rows = [replace(row, overrides=self._overrides(row) | added, at=self._at(row)) for row in table.rows]
        if table.is_figure:
            rows = _distinct(row for row in rows if _kept(row, own.get("points", self.settings["points"])))
        columns = tuple(column.model_copy(update={"key": self._key(column.key)}) for column in table.columns)
        drawing = table.drawing and self._drawing({**table.drawing, **own.get("drawing", {})})
        told = {
            "scale": self.name,
            "substitutions": (*self._substitutions(table, added), *filter(None, [own.get("says")])),
        }
        return replace(table, rows=tuple(rows), columns=columns, drawing=drawing, **told)

    def _from_folder(self, table: Table) -> Table:
        """The table with CIFAR-10 read from image files: the same images, so nothing stands for anything else."""
        here = {"data": "image_folder", "data.root": _quoted(self.images)}
        rows = [
            replace(row, overrides=row.overrides | here) if row.overrides.get("data") == "cifar10" else row
            for row in table.rows
        ]
        return replace(table, rows=tuple(rows))

    def _at(self, row: Row) -> dict[str, str]:
        """The row's place, which does not name data that others stand for."""
        replaced = "Data" in row.at and self._replaced("data", row.overrides.get("data", ""))
        return {**row.at, "Data": replaced["says"]} if replaced else dict(row.at)

    @cached_property
    def _data(self) -> Mapping:
        return self.settings["otherwise" if self.images is None else "images"]

    @cached_property
    def _replacing(self) -> dict[str, Mapping]:
        entries = [*self.settings["replace"], *self._data["replace"]]
        return {override: entry for entry in entries for override in entry["of"]}

    def _keeps(self, row: Row) -> bool:
        """Whether the row stays as it is."""
        return row.overrides.get("data") in self.settings["keep"]

    def _overrides(self, row: Row) -> dict[str, str]:
        overrides = row.overrides
        if self._keeps(row):
            return dict(overrides)
        found: dict[str, str] = {}
        for key in sorted(overrides, key=lambda key: "." in key):  # a group before what is set in it
            replacement = self._replaced(key, overrides[key])
            found |= {key: overrides[key]} if replacement is None else _texts(replacement["put"])
        found |= {key: _text(value) for key, value in self.settings.get("add", {}).items() if key not in row.swept}
        return {key: _quoted(self.images) if value == IMAGES else value for key, value in found.items()}

    def _replaced(self, key: str, value: str) -> Mapping | None:
        if key == "data":
            return None if value in self.settings["keep"] else self._data
        return self._replacing.get(f"{key}={value}")

    def _substitutions(self, table: Table, added: Mapping[str, str]) -> tuple[str, ...]:
        """What the reader is told, such as "WRN-16-1 for model=resnet18, model=resnet50".

        Args:
            added: overrides of the figure's own, of which it tells itself.
        """
        told: dict[str, dict[str, None]] = {}
        rows = [row for row in table.rows if not self._keeps(row)]
        for row in rows:
            for key, value in row.overrides.items():
                replacement = self._replaced(key, value)
                if replacement and "says" in replacement and key not in added:
                    told.setdefault(str(replacement["says"]), {})[f"{key}={value}"] = None
        said = [self.settings["says"]] if "says" in self.settings and rows else []
        if said and any(row.swept.keys() & self.settings.get("add", {}).keys() for row in rows):
            said = [f"{said[0]} where no axis sweeps them"]
        return (*said, *(f"{what} for {', '.join(of)}" for what, of in told.items()))

    def _drawing(self, drawing: Mapping) -> dict:
        """A figure's settings without the printed numbers, which are of another scale."""
        return {key: self._keys(value) for key, value in drawing.items() if key != "printed"}

    def _keys(self, value: object) -> object:
        """The value with other sets' keys in place of results' keys."""
        if isinstance(value, list):
            return [self._keys(entry) for entry in value]
        return self._key(value) if isinstance(value, str) else value

    def _key(self, key: str) -> str | None:
        for ours, theirs in {**self.settings["keys"], **self._data["keys"]}.items():
            if key == ours or key.startswith(f"{ours}/"):
                return theirs and theirs + key.removeprefix(ours)
        return key


def _quoted(path: str) -> str:
    """A path as Hydra's grammar reads it, whatever is in it."""
    return QuotedString(path, Quote.double).with_quotes()


def _kept(row: Row, points: int) -> bool:
    """Whether the row is among so many points of each axis, its ends and those evenly between them."""
    return all(i in {round(k * (n - 1) / (points - 1)) for k in range(points)} for i, n in row.swept.values())


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Without those that stand-ins have made the same as an earlier one, at the same place."""
    found: dict[tuple, Row] = {}
    for row in rows:
        found.setdefault((tuple(sorted(row.overrides.items())), tuple(row.at.values())), row)
    return list(found.values())


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
        images: a folder of CIFAR-10's images, which then stand for all data sets; at full scale for CIFAR-10 alone,
            and it must hold all of it.

    Raises:
        UserError: no such scale, one that takes no images, no such folder, or at full scale one that does not hold the
            whole of CIFAR-10.
    """
    if name not in names():
        raise UserError(f"There is no scale {name}: there are {', '.join(names())}.")
    if images is not None and not Path(images).is_dir():
        raise UserError(f"--images {images} is no folder: it must hold train/<class>/ and test/<class>/.")
    if images is not None and name == FULL:
        _require_whole(images)
    settings = {} if name == FULL else _file()[name]
    if images is not None and name != FULL and "images" not in settings:
        raise UserError(f"At {name} scale no images are read: leave --images out.")
    return Scale(name, images, settings)


def _require_whole(images: str) -> None:
    sizes = {split: sorted(map(len, classes.values())) for split, classes in scan(images).items()}
    if sizes != {"train": [5000] * 10, "test": [1000] * 10}:
        raise UserError(
            f"--images {images} does not hold 5,000 training and 1,000 test images of each of CIFAR-10's classes, as "
            "--scale full needs: take --scale small, or leave --images out."
        )


def _file() -> dict:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
