"""A table or figure of a paper: its columns, and its rows with the numbers that the paper prints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ensembles.reports.entry import FULL


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        key: of results.json; ``{criterion}`` in it stands for the row's criterion. None where nothing measures it.
        head: as the paper prints it.
        scale: times the result gives the printed number.
        unit: that the paper prints behind the number.
        better: ``higher`` or ``lower``; None where neither is.
        apart: how the paper's numbers differ in kind from the measured ones, so that their difference says nothing.
        over: the row whose result the column's results are divided by.
        take: of a result that is a list, one number a member: their ``count``, ``mean`` or the ``best`` of them.
    """

    key: str | None
    head: str
    scale: float = 1.0
    unit: str = ""
    better: str | None = None
    apart: str | None = None
    over: str | None = None
    take: str | None = None


@dataclass(frozen=True)
class OwnCount:
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
        stands: what stands for what at another scale.
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
    stands: tuple[str, ...] = ()
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

    def cited(self, row: Row) -> str:
        return f"{self.cites}, row {row.number}"
