"""The tables, read from their YAML files and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path

import yaml

from ensembles.errors import UserError, reason
from ensembles.papers.tables import Column, OwnCount, Row, Table

HOME = Path(__file__).parent
BETTER = ("higher", "lower")


def names(root: Path = HOME) -> list[str]:
    """All tables, as <paper>/<file>."""
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("*/*.yaml"))


def load(name: str, root: Path = HOME) -> Table:
    """Read a table.

    Args:
        name: <paper>/<file>.
        root: the folder with a folder for each paper.

    Raises:
        UserError: no such table, or one sentence that names the file and the row where it is wrong.
    """
    path = root / f"{name}.yaml"
    if name not in names(root):
        near = get_close_matches(name, names(root), n=3) or names(root)
        raise UserError(f"There is no table {name}: there are {', '.join(near)}.")
    try:
        text = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # scalars as text: 0.010 keeps its digits
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML ({reason(error)}).") from error
    return _table(name, _Place(path), text)


@dataclass(frozen=True)
class _Place:
    """Where in a file something is, for what is said about it."""

    file: Path
    within: str = ""

    def wrong(self, what: str) -> UserError:
        return UserError(f"{self.file}{self.within}: {what}.")

    def inside(self, within: str) -> "_Place":
        return _Place(self.file, f", {within}")

    def mapping(self, value: object, required: Sequence[str], optional: Sequence[str] = ()) -> dict:
        """The value, if it is a mapping with the required keys and no others than these and the optional ones."""
        if not isinstance(value, dict):
            raise self.wrong(f"{value!r} must be a mapping with {', '.join(required)}")
        for key in required:
            if key not in value:
                raise self.wrong(f"{key} is missing")
        for key in value.keys() - {*required, *optional}:
            near = get_close_matches(key, [*required, *optional]) or [*required, *optional]
            raise self.wrong(f"there is no {key}; known are {', '.join(near)}")
        return value

    def number(self, text: object, what: str) -> Decimal | None:
        if text == "null":
            return None
        try:
            number = Decimal(text) if isinstance(text, str) else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise self.wrong(f"{what} is {text!r}, but must be a number or null")
        return number

    def overrides(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.wrong(f"overrides is {value!r}, but must map keys to values")
        found = {}
        for key, setting in value.items():
            if isinstance(setting, list) and all(isinstance(entry, str) for entry in setting):
                setting = f"[{','.join(setting)}]"
            if not isinstance(setting, str):
                raise self.wrong(f"the override {key} is {setting!r}, but must be one value or a list of them")
            found[key] = setting
        return found


def _table(name: str, place: _Place, value: object) -> Table:
    required = ("title", "paper", "cites", "names", "columns", "rows")
    value = place.mapping(value, required, ("note", "seeds", "criterion", "overrides"))
    for key in ("names", "columns", "rows"):
        if not isinstance(value[key], list) or not value[key]:
            raise place.wrong(f"{key} must be a list with at least one entry")
    columns = tuple(_column(place.inside(f"column {i}"), entry) for i, entry in enumerate(value["columns"], 1))
    heads = tuple(value["names"])
    above = _Above(heads, columns, {}, place.overrides(value.get("overrides", {})), value.get("criterion"))
    rows = tuple(_rows(place, value["rows"], above, []))
    all_names = [row.name for row in rows]
    for i, row in enumerate(rows):
        if row.name in all_names[:i]:
            raise place.inside(f"row {row.number} ({row.name})").wrong("another row has the same name")
    for i, column in enumerate(columns, 1):
        if column.over is not None and column.over not in all_names:
            raise place.inside(f"column {i}").wrong(f"over is {column.over!r}, but no row has that name")
    seeds = place.number(value.get("seeds", "3"), "seeds")
    if seeds is None or seeds != int(seeds) or seeds < 1:
        raise place.wrong(f"seeds is {value['seeds']!r}, but must be an integer of at least 1")
    texts = {key: value[key] for key in ("title", "paper", "cites")}
    return Table(name, **texts, heads=heads, columns=columns, rows=rows, note=value.get("note"), seeds=int(seeds))


def _column(place: _Place, value: object) -> Column:
    value = dict(place.mapping(value, ("key", "head"), ("better", "scale", "unit", "apart", "over", "count")))
    if value.get("better", BETTER[0]) not in BETTER:
        raise place.wrong(f"better is {value['better']!r}, but must be {' or '.join(BETTER)}")
    if "scale" in value:
        value["scale"] = float(place.number(value["scale"], "scale") or 0)
        if value["scale"] <= 0:
            raise place.wrong("scale must be a number above 0")
    if value.setdefault("count", "false") not in ("true", "false"):
        raise place.wrong(f"count is {value['count']!r}, but must be true or false")
    return Column(**{**value, "count": value["count"] == "true"})


@dataclass(frozen=True)
class _Above:
    """What a row takes over from the table and from the block that it is in."""

    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    names: Mapping[str, str]
    overrides: Mapping[str, str]
    criterion: str | None

    def block(self, place: _Place, value: dict) -> "_Above":
        names = value.get("names", {})
        for head in names if isinstance(names, dict) else ["names"]:
            if head not in self.heads:
                raise place.wrong(
                    f"the block's names have {head}, but the columns of names are {', '.join(self.heads)}"
                )
        overrides = {**self.overrides, **place.overrides(value.get("overrides", {}))}
        return _Above(self.heads, self.columns, {**self.names, **names}, overrides, self.criterion)


def _rows(place: _Place, entries: list, above: _Above, found: list[Row]) -> list[Row]:
    for entry in entries:
        if isinstance(entry, dict) and "rows" in entry:
            here = place.inside(f"the block after row {len(found)}")
            here.mapping(entry, ("rows",), ("names", "overrides"))
            if not isinstance(entry["rows"], list):
                raise here.wrong("rows must be a list")
            _rows(place, entry["rows"], above.block(here, entry), found)
        else:
            found.append(_row(place, entry, above, len(found) + 1))
    return found


def _row(place: _Place, value: object, above: _Above, number: int) -> Row:
    called = value.get("name") if isinstance(value, dict) else None
    place = place.inside(f"row {number}" + (f" ({called})" if called else ""))
    value = place.mapping(value, ("name", "overrides", "paper"), ("criterion", "counts", "note"))
    printed = value["paper"]
    if not isinstance(printed, list) or len(printed) != len(above.columns):
        has = f"{len(printed)} numbers" if isinstance(printed, list) else repr(printed)
        raise place.wrong(f"paper has {has}, but the table has {len(above.columns)} columns")
    paper = tuple(place.number(text, f"paper's {c.head}") for text, c in zip(printed, above.columns, strict=True))
    own = {above.heads[0]: value["name"], **above.names}
    missing = [head for head in above.heads if head not in own]
    if missing:
        raise place.wrong(f"it has no {missing[0]}: put it into a block that names it")
    return Row(
        number=number,
        names=tuple(own[head] for head in above.heads),
        overrides={**above.overrides, **place.overrides(value["overrides"])},
        paper=paper,
        criterion=value.get("criterion") or above.criterion or Row.criterion,
        counts=_counts(place, value.get("counts", {}), above.columns),
        note=value.get("note"),
    )


def _counts(place: _Place, value: object, columns: Sequence[Column]) -> dict[str, OwnCount]:
    keys = [column.key for column in columns]
    counts = {}
    for key, entry in place.mapping(value, (), keys).items():
        entry = place.mapping(entry, ("times", "how"))
        times = place.number(entry["times"], f"the count of {key}")
        if times is None:
            raise place.wrong(f"the count of {key} has no times")
        counts[key] = OwnCount(float(times), entry["how"])
    return counts
