"""A table or figure of a paper: its columns, and its rows with the numbers that the paper prints; read from YAML."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from itertools import product
from pathlib import Path

import yaml

from ensembles.errors import UserError, reason
from ensembles.papers.schema import (
    Block,
    Column,
    FigureFile,
    OwnCount,
    RowEntry,
    TableFile,
    as_overrides,
    require_known,
    told_of,
)
from ensembles.reports.paper_result import FULL

HOME = Path(__file__).parent
CLAIMS = "claims.yaml"  # stands beside a paper's tables and figures and is neither


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
    def about(self) -> dict:
        """What a result says of the table that it is of."""
        texts = {key: getattr(self, key) for key in ("name", "title", "scale", "paper", "cites")}
        return {**texts, "substitutions": list(self.substitutions)}

    @property
    def slug(self) -> str:
        """A name for files, which tells scales apart."""
        return self.name if self.scale == FULL else f"{self.name}-{self.scale}"


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
    with told_of(path):
        if not (isinstance(value, dict) and "drawing" in value):
            return _table(name, path, TableFile.model_validate(value), {})
        printed = {"printed": value["drawing"]["printed"]} if "printed" in value["drawing"] else {}
        value |= {"drawing": {**typed["drawing"], **printed}, "scales": typed.get("scales") or {}}
        file = FigureFile.model_validate(value)
        if file.rows and not file.names:
            raise ValueError("rows have names: give the list of their heads as names")
        scales = file.scales.model_dump(exclude_unset=True)
        rest = {"drawing": file.drawing, "shows": " ".join(file.shows.split()), "scales": scales}
        return _table(name, path, file, rest)


def _table(name: str, path: Path, file: TableFile | FigureFile, of_figure: dict) -> Table:
    columns = tuple(getattr(file, "columns", ()))
    sweep = _sweep(getattr(file, "sweep", {}), file.names)
    rows: list[Row] = []

    def add(entries: list, names: Mapping[str, str], overrides: Mapping[str, str]) -> None:
        for entry in entries:
            if isinstance(entry, dict) and "rows" in entry:
                with told_of(path, f", the block after row {len(rows)}"):
                    block = Block.model_validate(entry)
                    if others := [head for head in block.names if head not in file.names]:
                        heads = ", ".join(file.names)
                        raise ValueError(f"the block's names have {others[0]}, but the columns of names are {heads}")
                add(block.rows, {**names, **block.names}, {**overrides, **block.overrides})
            else:
                called = entry.get("name") if isinstance(entry, dict) else None
                with told_of(path, f", row {len(rows) + 1}" + (f" ({called})" if called else "")):
                    given = RowEntry.model_validate(entry)
                    settings = {**overrides, **given.overrides}
                    given = given.model_copy(
                        update={"overrides": settings, "criterion": given.criterion or file.criterion}
                    )
                    rows.extend(_rows(given, len(rows) + 1, file.names, columns, names, sweep))

    add(file.rows, {}, file.overrides)
    all_names = [row.name for row in rows]
    for i, row in enumerate(rows):
        if row.name in all_names[:i]:
            raise UserError(f"{path}, row {row.number} ({row.name}): another row has the same name.")
    for i, entry in enumerate(columns, 1):
        if entry.over is not None and entry.over not in all_names:
            raise UserError(f"{path}, column {i}: over is {entry.over!r}, but no row has that name.")
    about = {key: getattr(file, key) for key in ("title", "paper", "cites", "note", "seeds")}
    return Table(name, **about, heads=tuple(file.names), columns=columns, rows=tuple(rows), **of_figure)


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
    """Read swept settings: head -> key of an override, and its values."""
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
        found[head] = (key, list(as_overrides(dict(enumerate(values))).values()))
    return found


def _rows(
    entry: RowEntry,
    number: int,
    heads: Sequence[str],
    columns: Sequence[Column],
    names: Mapping[str, str],
    swept: Mapping[str, tuple[str, list[str]]],
) -> Iterator[Row]:
    """Make the row of an entry, or one for each combination of what is swept.

    Args:
        names, swept: that the entry has from its block and its table.
    """
    if columns and "paper" not in entry.model_fields_set:
        raise ValueError("paper is missing")
    if not isinstance(entry.paper, list | tuple) or len(entry.paper) != len(columns):
        has = f"{len(entry.paper)} numbers" if isinstance(entry.paper, list) else repr(entry.paper)
        raise ValueError(f"paper has {has}, but the table has {len(columns)} columns")
    paper = tuple(_number(text, f"paper's {c.head}") for text, c in zip(entry.paper, columns, strict=True))
    require_known(entry.counts, [column.key for column in columns])
    own = {**({heads[0]: entry.name} if entry.name is not None else {}), **names}
    missing = [head for head in heads if head not in {**own, **swept}]
    if missing:
        raise ValueError(
            "name is missing"
            if missing[0] == heads[0]
            else f"it has no {missing[0]}: put it into a block that names it"
        )
    for i, point in enumerate(product(*(enumerate(values) for _, values in swept.values()))):
        chosen = {head: text for head, (_, text) in zip(swept, point, strict=True)}
        at = {**own, **chosen}
        yield Row(
            number=number + i,
            names=tuple(f"{head} = {at[head]}" if head in chosen else at[head] for head in heads),
            overrides={**entry.overrides, **{swept[head][0]: text for head, text in chosen.items()}},
            paper=paper,
            criterion=entry.criterion or Row.criterion,
            counts=entry.counts,
            note=entry.note,
            precedence=entry.precedence,
            at={head: at[head] for head in heads},
            swept={swept[head][0]: (index, len(swept[head][1])) for head, (index, _) in zip(swept, point, strict=True)},
        )
