"""Tables at less than the paper's scale.

At small scale nothing is run: rows on CIFAR-10 are shown with the runs of results/cifar10, by a map in scales.yaml, and
others are not measured. At smoke scale every row runs on next to nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml
from hydra.core.override_parser.types import Quote, QuotedString

from ensembles.data.files.fingerprint import scan
from ensembles.errors import UserError
from ensembles.papers.table import Row, Table
from ensembles.reports.paper_result import FULL

FILE = Path(__file__).with_name("scales.yaml")
SMALL, SMOKE = "small", "smoke"
NAMES = (FULL, SMALL, SMOKE)
STUDY = Path("results") / "cifar10"  # whose runs are shown at small scale
POINTS = 2  # of a figure's axis at smoke scale, its ends among them
STAY = {"synthetic_regression", "small_cnn"}  # data and networks that are small already


@dataclass(frozen=True)
class Scale:
    """A scale.

    Attributes:
        name: one of `NAMES`.
        images: at full scale a folder of all of CIFAR-10's images, which are then read from there, or None.
    """

    name: str
    images: str | None = None

    def seeds(self, table: Table) -> int:
        """Say how many runs of a row there are unless the user does."""
        return table.seeds if self.name == FULL else 1

    def applied(self, table: Table) -> Table:
        """Bring a table or figure to this scale."""
        if self.name == FULL and self.images is None:
            return table
        if self.name == FULL:  # the same images, so nothing stands for anything else
            here = {"data": "image_folder", "data.root": QuotedString(self.images, Quote.double).with_quotes()}
            rows = [
                replace(row, overrides=row.overrides | here) if row.overrides.get("data") == "cifar10" else row
                for row in table.rows
            ]
            return replace(table, rows=tuple(rows))
        own = table.scales.get(self.name, {})
        if self.name == SMOKE:
            return _smoke(table, own)
        told = own.get("says") or f"the small network and the recipe of {STUDY.as_posix()} for the paper's"
        return replace(table, scale=SMALL, substitutions=(told,), drawing=_drawing(table, own, {}))


def _smoke(table: Table, own: Mapping) -> Table:
    """Make a table of rows that run in seconds: their methods' and recipes' settings, on other data and networks."""
    smoke = _file()[SMOKE]
    added = {key: str(value) for key, value in own.get("overrides", {}).items()}
    rows = [
        replace(
            row,
            overrides=_tiny(row, smoke) | added,
            at={**row.at, "Data": smoke["data"]} if "Data" in row.at else row.at,
        )
        for row in table.rows
        if not table.is_figure or _kept(row)
    ]
    columns = (column.model_copy(update={"key": _stand_ins(column.key, smoke["keys"])}) for column in table.columns)
    tiny = [row for row in table.rows if row.overrides["data"] not in STAY]
    told = [smoke["says"]] if tiny else []
    if any(row.swept.keys() & smoke["put"].keys() for row in tiny):
        told = [f"{smoke['says']} where no axis sweeps them"]
    return replace(
        table,
        rows=tuple(_distinct(rows) if table.is_figure else rows),
        columns=tuple(columns),
        drawing=_drawing(table, own, smoke["keys"]),
        scale=SMOKE,
        substitutions=(*told, *filter(None, [own.get("says")])),
    )


def _tiny(row: Row, smoke: Mapping) -> dict[str, str]:
    """Keep the row's overrides but for its data and network, which others stand for."""
    if row.overrides["data"] in STAY:
        return dict(row.overrides)
    gone = ("data",) if row.overrides["model"] in STAY else ("data", "model")
    found = {key: value for key, value in row.overrides.items() if key.partition(".")[0] not in gone}
    for key, value in row.overrides.items():
        found |= smoke["besides"].get(f"{key}={value}", {})
    put = {key: value for key, value in smoke["put"].items() if gone[-1] == "model" or not key.startswith("model")}
    return found | {key: value for key, value in put.items() if key not in row.swept}


def _drawing(table: Table, own: Mapping, keys: Mapping[str, str]) -> dict | None:
    """Choose a figure's settings at its scale, without the printed numbers, which are of another one."""
    if table.drawing is None:
        return None
    settings = {**table.drawing, **own.get("drawing", {})}
    return {key: _stand_ins(value, keys) for key, value in settings.items() if key != "printed"}


def _stand_ins(value: object, keys: Mapping[str, str]) -> object:
    """Put the keys of the sets that stand for others in place of results' keys."""
    if isinstance(value, list):
        return [_stand_ins(entry, keys) for entry in value]
    found = [key for key in keys if isinstance(value, str) and value.startswith(f"{key}/")]
    return keys[found[0]] + value.removeprefix(found[0]) if found else value


def _kept(row: Row) -> bool:
    """Say whether the row is among `POINTS` of each axis, its ends and those evenly between them."""
    return all(i in {round(k * (n - 1) / (POINTS - 1)) for k in range(POINTS)} for i, n in row.swept.values())


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Leave out rows that stand-ins have made the same as an earlier one, at the same place."""
    found: dict[tuple, Row] = {}
    for row in rows:
        found.setdefault((tuple(sorted(row.overrides.items())), tuple(row.at.values())), row)
    return list(found.values())


def study_row(row: Row) -> str | None:
    """Find the row of results/cifar10 that a paper's row is shown with at small scale, if there is one."""
    if row.overrides.get("data") != "cifar10":
        return None
    return next((name for name, of in _file()[SMALL].items() if row.names[0] in of), None)


def scale(name: str = FULL, images: str | None = None) -> Scale:
    """Make the scale of a name.

    Args:
        images: a folder of CIFAR-10's images, which must hold all of it.

    Raises:
        UserError: no such scale, one that takes no images, no such folder, or one that does not hold the whole of
            CIFAR-10.
    """
    if name not in NAMES:
        raise UserError(f"There is no scale {name}: there are {', '.join(NAMES)}.")
    if images is not None and name != FULL:
        raise UserError(f"At {name} scale no images are read: leave --images out.")
    if images is not None:
        if not Path(images).is_dir():
            raise UserError(f"--images {images} is no folder: it must hold train/<class>/ and test/<class>/.")
        sizes = {split: sorted(map(len, classes.values())) for split, classes in scan(images).items()}
        if sizes != {"train": [5000] * 10, "test": [1000] * 10}:
            raise UserError(
                f"--images {images} does not hold 5,000 training and 1,000 test images of each of CIFAR-10's classes, "
                "as --scale full needs: leave --images out."
            )
    return Scale(name, images)


@cache
def _file() -> dict:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
