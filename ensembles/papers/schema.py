"""A table or figure of a paper: its columns, and its rows with the numbers that the paper prints; read from YAML."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from ensembles.errors import UserError, reason
from ensembles.reports.paper_result import FULL

HOME = Path(__file__).parent
CLAIMS = "claims.yaml"  # stands beside a paper's tables and figures and is neither
Criterion = Literal["max_probability", "max_logit", "entropy", "mutual_information", "variance"]  # of metrics.ood
EXPECTED = {"seeds": "an integer of at least 1", "scale": "a number above 0", "times": "a number"}


class Strict(BaseModel):
    """A mapping of the file, with the keys that it must and can have."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_its_keys(cls, value: object) -> object:
        required = [key for key, of in cls.model_fields.items() if of.is_required()]
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} must be a mapping with {', '.join(required)}")
        for key in required:
            if key not in value:
                raise ValueError(f"{key} is missing")
        require_known(value, list(cls.model_fields))
        return value


def require_known(value: Mapping, known: Sequence[str]) -> None:
    """Reject a mapping that has other keys than the known ones.

    Raises:
        ValueError: names the key, and those that are like it.
    """
    for key in value:
        if key not in known:
            raise ValueError(f"there is no {key}; known are {', '.join(get_close_matches(key, known) or known)}")


class Column(Strict):
    """A column of numbers.

    Attributes:
        key: of results.json; ``{criterion}`` in it stands for the row's criterion. None where nothing measures it.
        head: as the paper prints it.
        scale: times the result gives the printed number.
        unit: that the paper prints behind the number.
        better: None where neither is.
        apart: how the paper's numbers differ in kind from the measured ones, so that their difference says nothing.
        over: the row whose result the column's results are divided by.
        take: of a result that is a list, one number a member: their ``count``, ``mean`` or the ``best`` of them.
    """

    key: str | None
    head: str
    scale: Annotated[float, Field(gt=0)] = 1.0
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    apart: str | None = None
    over: str | None = None
    take: Literal["count", "mean", "best"] | None = None

    @model_validator(mode="after")
    def _has_a_best(self) -> "Column":
        if self.take == "best" and self.better is None:
            raise ValueError("take is best: say which is better, higher or lower")
        return self


class OwnCount(Strict):
    """A cell in which the paper counts its own way.

    Attributes:
        times: times the measured number gives what the paper counts.
        how: what it counts.
    """

    times: float
    how: str


@dataclass(frozen=True)
class Row:
    """A row: a configuration and what the paper prints for it.

    Attributes:
        number: its place in the table, from 1.
        names: one for each of the table's name columns.
        overrides: of the command line, key -> value.
        paper: the printed numbers in the columns' order, with the digits that are printed; None where there is none.
        criterion: for out-of-distribution detection.
        counts: result key -> how the paper counts there.
        note: what a reader of the numbers should know.
        precedence: the paper whose recipe is the default for this data, model and method, where it is not the row's.
        at: its place in a figure: head of a column of names -> name, or the bare value of a swept setting.
        swept: key of a swept setting -> the index of its value, and the number of values.
    """

    number: int
    names: tuple[str, ...]
    overrides: dict[str, str]
    paper: tuple[Decimal | None, ...]
    criterion: str = "max_probability"
    counts: dict[str, OwnCount] = field(default_factory=dict)
    note: str | None = None
    precedence: str | None = None
    at: Mapping[str, str] = field(default_factory=dict)
    swept: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return ", ".join(self.names)

    @property
    def arguments(self) -> list[str]:
        """The overrides as train.py takes them."""
        return [f"{key}={value}" for key, value in self.overrides.items()]


@dataclass(frozen=True)
class Table:
    """A table of a paper, or a figure, whose rows may have no printed numbers and which may have none at all.

    Attributes:
        name: <paper>/<file>, such as mimo/table1.
        paper: its citation.
        cites: the place in the paper.
        heads: of the columns that hold names.
        seeds: runs of a row, over which the paper averages where it says so.
        scale: ``full`` is the paper's setting.
        substitutions: what stands for what at another scale.
        drawing: of a figure: the function that draws it, as Hydra's ``_target_``, with its settings.
        shows: what the paper's figure shows.
        scales: of a figure: for a smaller scale its own ``drawing`` settings, ``overrides`` and what it ``says``.
    """

    name: str
    title: str
    paper: str
    cites: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str | None = None
    seeds: int = 3
    scale: str = FULL
    substitutions: tuple[str, ...] = ()
    drawing: Mapping | None = None
    shows: str = ""
    scales: Mapping = field(default_factory=dict)

    @property
    def is_figure(self) -> bool:
        return self.drawing is not None

    @property
    def slug(self) -> str:
        """A name for files, which tells scales apart."""
        return self.name if self.scale == FULL else f"{self.name}-{self.scale}"


def _nonblank(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{info.field_name} is {value!r}, but must be text")
    return value


def _overrides(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"overrides is {value!r}, but must map keys to values")
    found = {}
    for key, setting in value.items():
        if isinstance(setting, list) and all(isinstance(entry, str) for entry in setting):
            setting = f"[{','.join(setting)}]"
        if not isinstance(setting, str):
            raise ValueError(f"the override {key} is {setting!r}, but must be one value or a list of them")
        found[key] = setting
    return found


Text = Annotated[str, BeforeValidator(_nonblank)]
Overrides = Annotated[dict[str, str], BeforeValidator(_overrides)]


class _RowEntry(Strict):
    """A row of the file, or one for each combination of what it sweeps."""

    overrides: Overrides
    name: str | None = None
    paper: Any = ()
    criterion: Criterion | None = None
    counts: dict[str, OwnCount] = {}
    note: str | None = None
    precedence: str | None = None
    sweep: Any = {}


class _Block(Strict):
    """Rows that have names and overrides in common."""

    rows: list
    names: dict[str, str] = {}
    overrides: Overrides = {}


class _File(Strict):
    title: Text
    paper: Text
    cites: Text
    names: list[str] = []
    rows: list = []
    note: str | None = None
    seeds: Annotated[int, Field(ge=1)] = 3
    criterion: Criterion | None = None
    overrides: Overrides = {}


class _TableFile(_File):
    names: Annotated[list[str], Field(min_length=1)]
    columns: Annotated[list[Column], Field(min_length=1)]
    rows: Annotated[list, Field(min_length=1)]


class _AtScale(Strict):
    """What a figure changes at a smaller scale."""

    drawing: dict = {}
    overrides: dict = {}
    says: str | None = None


class _Scales(Strict):
    small: _AtScale | None = None
    smoke: _AtScale | None = None


def _drawing(value: object) -> object:
    if not isinstance(value, dict) or "_target_" not in value:
        raise ValueError("_target_ is missing")
    return value


class _FigureFile(_File):
    drawing: Annotated[dict, BeforeValidator(_drawing)]
    shows: Text
    sweep: Any = {}
    scales: _Scales = _Scales()


def names(root: Path = HOME) -> list[str]:
    """List all tables and figures, as <paper>/<file>."""
    found = (path for path in root.glob("*/*.yaml") if path.name != CLAIMS)
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in found)


def load(name: str, root: Path = HOME) -> Table:
    """Read a table or figure.

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
        text = path.read_text(encoding="utf-8")
        value = yaml.load(text, yaml.BaseLoader)  # scalars as text: 0.010 keeps its digits
        typed = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML ({reason(error)}).") from error
    with _told_of(path):
        if not (isinstance(value, dict) and "drawing" in value):
            return _table(name, path, _TableFile.model_validate(value), {})
        printed = {"printed": value["drawing"]["printed"]} if "printed" in value["drawing"] else {}
        value |= {"drawing": {**typed["drawing"], **printed}, "scales": typed.get("scales") or {}}
        file = _FigureFile.model_validate(value)
        if file.rows and not file.names:
            raise ValueError("rows have names: give the list of their heads as names")
        scales = file.scales.model_dump(exclude_unset=True)
        rest = {"drawing": file.drawing, "shows": " ".join(file.shows.split()), "scales": scales}
        return _table(name, path, file, rest)


def _table(name: str, path: Path, file: _TableFile | _FigureFile, of_figure: dict) -> Table:
    columns = tuple(getattr(file, "columns", ()))
    heads = tuple(file.names)
    swept = _sweep(getattr(file, "sweep", {}), heads)
    above = _Above(heads, columns, {}, file.overrides, file.criterion, swept)
    rows = tuple(_rows(path, file.rows, above, []))
    all_names = [row.name for row in rows]
    for i, row in enumerate(rows):
        if row.name in all_names[:i]:
            raise UserError(f"{path}, row {row.number} ({row.name}): another row has the same name.")
    for i, entry in enumerate(columns, 1):
        if entry.over is not None and entry.over not in all_names:
            raise UserError(f"{path}, column {i}: over is {entry.over!r}, but no row has that name.")
    about = {key: getattr(file, key) for key in ("title", "paper", "cites", "note", "seeds")}
    return Table(name, **about, heads=heads, columns=columns, rows=rows, **of_figure)


@contextmanager
def _told_of(path: Path, within: str = "") -> Iterator[None]:
    """Tell in one sentence of the file, and of the place in it, what is wrong with a value."""
    try:
        yield
    except UserError:
        raise  # told already
    except ValidationError as error:
        first = error.errors()[0]
        *steps, last = first["loc"] or ("",)
        if first["loc"][:1] == ("columns",) and len(first["loc"]) > 1:
            within += f", column {first['loc'][1] + 1}"
        elif first["loc"][:1] in (("drawing",), ("scales",)):
            within += f", {', '.join(map(str, first['loc'] if first['type'] == 'value_error' else steps))}"
        raise UserError(f"{path}{within}: {_what_is_wrong(first, last)}.") from error
    except ValueError as error:
        raise UserError(f"{path}{within}: {error}.") from error


def _what_is_wrong(first: Mapping, name: object) -> str:
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] in ("list_type", "too_short"):
        return f"{name} must be a list with at least one entry"
    if first["type"] == "literal_error":
        options = first["ctx"]["expected"].replace("'", "")
        few = options.count(",") < 2
        return f"{name} is {first['input']!r}, but must be {options if few else f'one of {options}'}"
    expected = EXPECTED.get(name) or first["msg"][0].lower() + first["msg"][1:]
    return f"{name} is {first['input']!r}, but must be {expected}".replace("must be input should be", "must be")


def _number(text: object, what: str) -> Decimal | None:
    if text == "null":
        return None
    try:
        number = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise ValueError(f"{what} is {text!r}, but must be a number or null")
    return number


def _sweep(value: object, heads: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Swept settings: head -> key of an override, and its values."""
    if not isinstance(value, dict):
        raise ValueError(f"sweep is {value!r}, but must map heads to settings")
    require_known(value, heads)
    found = {}
    for head, setting in value.items():
        if not isinstance(setting, dict) or len(setting) != 1:
            raise ValueError(f"the sweep over {head} is {setting!r}, but must be one key with a list of values")
        ((key, values),) = setting.items()
        if not isinstance(values, list) or len(values) < 2:
            raise ValueError(f"the sweep over {head} has {values!r} for {key}, but must have a list of two or more")
        found[head] = (key, list(_overrides(dict(enumerate(values))).values()))
    return found


@dataclass(frozen=True)
class _Above:
    """What a row takes over from the table and from the block that it is in."""

    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    names: Mapping[str, str]
    overrides: Mapping[str, str]
    criterion: str | None
    sweep: Mapping[str, tuple[str, list[str]]]


def _rows(path: Path, entries: list, above: _Above, found: list[Row]) -> list[Row]:
    for entry in entries:
        if isinstance(entry, dict) and "rows" in entry:
            with _told_of(path, f", the block after row {len(found)}"):
                block = _Block.model_validate(entry)
                for head in block.names:
                    if head not in above.heads:
                        heads = ", ".join(above.heads)
                        raise ValueError(f"the block's names have {head}, but the columns of names are {heads}")
            names, overrides = {**above.names, **block.names}, {**above.overrides, **block.overrides}
            _rows(path, block.rows, replace(above, names=names, overrides=overrides), found)
        else:
            called = entry.get("name") if isinstance(entry, dict) else None
            with _told_of(path, f", row {len(found) + 1}" + (f" ({called})" if called else "")):
                found += _of_entry(_RowEntry.model_validate(entry), above, len(found) + 1)
    return found


def _of_entry(entry: _RowEntry, above: _Above, number: int) -> Iterator[Row]:
    """The row of an entry, or one for each combination of what the entry sweeps."""
    if above.columns and "paper" not in entry.model_fields_set:
        raise ValueError("paper is missing")
    if not isinstance(entry.paper, list | tuple) or len(entry.paper) != len(above.columns):
        has = f"{len(entry.paper)} numbers" if isinstance(entry.paper, list) else repr(entry.paper)
        raise ValueError(f"paper has {has}, but the table has {len(above.columns)} columns")
    paper = tuple(_number(text, f"paper's {c.head}") for text, c in zip(entry.paper, above.columns, strict=True))
    require_known(entry.counts, [column.key for column in above.columns])
    own = {**({above.heads[0]: entry.name} if entry.name is not None else {}), **above.names}
    swept = {**above.sweep, **_sweep(entry.sweep, above.heads)}
    missing = [head for head in above.heads if head not in {**own, **swept}]
    if missing:
        raise ValueError(
            "name is missing"
            if missing[0] == above.heads[0]
            else f"it has no {missing[0]}: put it into a block that names it"
        )
    for i, point in enumerate(product(*(enumerate(values) for _, values in swept.values()))):
        chosen = {head: text for head, (_, text) in zip(swept, point, strict=True)}
        at = {**own, **chosen}
        names = {**own, **{head: f"{head} = {text}" for head, text in chosen.items()}}
        yield Row(
            number=number + i,
            names=tuple(names[head] for head in above.heads),
            overrides={
                **above.overrides,
                **entry.overrides,
                **{swept[head][0]: text for head, text in chosen.items()},
            },
            paper=paper,
            criterion=entry.criterion or above.criterion or Row.criterion,
            counts=entry.counts,
            note=entry.note,
            precedence=entry.precedence,
            at={head: at[head] for head in above.heads},
            swept={swept[head][0]: (index, len(swept[head][1])) for head, (index, _) in zip(swept, point, strict=True)},
        )
