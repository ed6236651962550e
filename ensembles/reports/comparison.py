"""Several runs side by side, in one table. Imports no torch."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ensembles.files import replacing
from ensembles.reports.grid import add_row, grid
from ensembles.reports.numbers import count, decimal, mean, percent, three_digits


class Row(NamedTuple):
    """One row of a comparison.

    Attributes:
        differs: what tells this run from the others, such as {"method.M": 4}.
        status: one word, or a word, a colon and the reason.
        results: the run's flat results; empty where it has none.
    """

    differs: Mapping[str, object]
    status: str
    results: Mapping[str, object]


COLUMNS = {
    "test/acc": ("acc %", percent),
    "test/mse": ("MSE", three_digits),
    "test/nll": ("NLL", decimal),
    "test/ece": ("ECE", decimal),
    "corrupted/acc": ("cAcc %", percent),
    "corrupted/nll": ("cNLL", decimal),
    "corrupted/ece": ("cECE", decimal),
    "members/acc": ("members %", lambda values: percent(mean(values))),
    "diversity/disagreement": ("differ %", percent),
    "cost/params": ("params", count),
}
LEAST = ("corrupted/nll", "diversity/disagreement", "corrupted/ece", "members/acc")  # the first is missed least


def _union(mappings: Iterable[Mapping]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def short(keys: Sequence[str]) -> dict[str, str]:
    """method.M -> M, unless another key ends alike."""
    tails = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: tail if tails.count(tail) == 1 else key for key, tail in zip(keys, tails, strict=True)}


def compare(rows: Sequence[Row], columns: Mapping[str, tuple] = COLUMNS) -> RenderableType:
    """One table over several runs, with the reasons of those that failed beneath it.

    Args:
        rows: the runs, in the order to show them.
        columns: for each key of the results its head and how to print it, as `COLUMNS`; columns that no run fills are
            left out, and in a narrow terminal so are those of `LEAST`, as far as needed.
    """
    differing = short(_union(row.differs for row in rows))
    filled = {key: column for key, column in columns.items() if any(row.results.get(key) is not None for row in rows)}
    return _Comparison(rows, differing, filled)


class _Comparison(NamedTuple):
    rows: Sequence[Row]
    differing: Mapping[str, str]
    columns: Mapping[str, tuple]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        shown, unlimited = dict(self.columns), options.update(max_width=10_000)
        for key in LEAST:
            if Measurement.get(console, unlimited, self._table(shown)).maximum > options.max_width:
                shown.pop(key, None)
        yield self._table(shown)
        for row in self.rows:
            _, failed, reason = row.status.partition(":")
            if failed:
                which = ", ".join(f"{self.differing[key]}={value}" for key, value in row.differs.items())
                yield Text(f"{which}: {reason.strip()}" if which else reason.strip())

    def _table(self, columns: Mapping[str, tuple]) -> Table:
        heads = [head for head, _ in columns.values()]
        table = grid("", *self.differing.values(), *heads, "status", names=len(self.differing))
        table.columns[-1].justify = "left"
        for row in self.rows:
            names = [str(row.differs.get(key, "")) for key in self.differing]
            numbers = [show(row.results.get(key)) for key, (_, show) in columns.items()]
            add_row(table, *names, *numbers, row.status.partition(":")[0])
        return table


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Write the runs with every scalar among their results, one line each; lists are left out.

    Raises:
        UserError: the file cannot be written.
    """
    differing = _union(row.differs for row in rows)
    scalars = [{key: v for key, v in row.results.items() if not isinstance(v, list | tuple | dict)} for row in rows]
    keys = _union(scalars)
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*differing, "status", *keys])
        for row, values in zip(rows, scalars, strict=True):
            named = [row.differs.get(key, "") for key in differing]
            writer.writerow([*named, row.status, *(values.get(key, "") for key in keys)])
