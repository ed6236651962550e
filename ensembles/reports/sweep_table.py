"""A sweep's runs in one table, with means over seeds and splits; and as CSV. Imports no numpy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ensembles.files import write_rows
from ensembles.reports.schema import column, finite, number
from ensembles.reports.terminal import add_row, grid

COMPARED = (
    *("test/acc", "test/mse", "test/rmse", "test/nll", "test/ece", "corrupted/acc", "corrupted/nll", "corrupted/ece"),
    *("members/acc", "diversity/disagreement", "cost/params"),
)
PROGRESS_KEYS = ("test/acc", "test/mse", "test/nll", "test/ece", "members/acc")  # shown as soon as a run is done
SPLIT = "data.split"
REPEATS = ("seed", SPLIT)  # settings by which a run is made again, not another one
LEAST = ("corrupted/nll", "diversity/disagreement", "corrupted/ece", "members/acc")  # the first is missed least


class RunRow(NamedTuple):
    """A run in a comparison.

    Attributes:
        differs: what tells this run from the others, such as {"method.M": 4}.
        status: one word, or a word, a colon and the reason.
        results: the run's flat results; empty where it has none.
    """

    differs: Mapping[str, object]
    status: str
    results: Mapping[str, object]


def _union(mappings: Iterable[Mapping]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def short(keys: Sequence[str]) -> dict[str, str]:
    """Shorten method.M to M, unless another key ends alike."""
    tails = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: tail if tails.count(tail) == 1 else key for key, tail in zip(keys, tails, strict=True)}


def line(row: RunRow) -> str:
    """Say in one line what a run has varied and found, or why it has found nothing."""
    varied = ", ".join(f"{head}={row.differs[key]}" for key, head in short(list(row.differs)).items())
    one = [row.results.get("test/acc")]  # the only member of a single network says nothing new
    keys = [key for key in PROGRESS_KEYS if row.results.get(key) is not None and row.results[key] != one]
    found = {column(key): number(row.results, key) for key in keys}
    told = ", ".join(f"{of.label} {of.show(value)}{' %' * (of.unit == '%')}" for of, value in found.items())
    return f"{varied or 'the run'}: {told if row.status == 'done' else row.status}"


def averaged(rows: Sequence[RunRow]) -> list[tuple[RunRow, RunRow]]:
    """Average finished runs that differ in their seed or split alone: means and, where there are several, deviations.

    Over seeds the second row has standard deviations; over splits standard errors, of the splits' means over seeds.
    """
    groups: dict[tuple, list[RunRow]] = {}
    for row in rows:
        if row.results and any(key in row.differs for key in REPEATS):
            rest = tuple((key, str(value)) for key, value in row.differs.items() if key not in REPEATS)
            groups.setdefault(rest, []).append(row)
    found = []
    for rest, each in groups.items():
        if len(each) > 1:
            parts = _by_split(each)
            error = len({row.differs.get(SPLIT) for row in each}) > 1
            known = [key for key in parts[0] if all(key in part for part in parts)]
            means = {key: fmean(part[key] for part in parts) for key in known}
            spreads = {key: stdev(part[key] for part in parts) / (len(parts) ** 0.5 if error else 1) for key in known}
            status = f"{len(parts)} {'splits' if error else 'seeds'}"
            if len(parts) < len(each):
                status += f", {len(each)} runs"
            repeated = [key for key in REPEATS if key in each[0].differs]
            for_each = ("mean", "standard error" if error else "std")
            named = [{**dict(rest), **dict.fromkeys(repeated, name)} for name in for_each]
            found.append((RunRow(named[0], status, means), RunRow(named[1], status, spreads)))
    return found


def _by_split(rows: Sequence[RunRow]) -> list[dict[str, float]]:
    """Find each split's numbers, means where it has several seeds; without several splits those of each run."""
    splits: dict[object, list[dict]] = {}
    for i, row in enumerate(rows):
        splits.setdefault(str(row.differs.get(SPLIT, i)), []).append(_scalars(row))
    parts = list(splits.values())
    if len(parts) == 1:
        parts = [[one] for one in parts[0]]
    numbers = [{key: [one.get(key) for one in some] for key in some[0]} for some in parts]
    return [
        {key: fmean(values) for key, values in part.items() if all(finite(value) is not None for value in values)}
        for part in numbers
    ]


def compare(rows: Sequence[RunRow], columns: Sequence[str] = COMPARED) -> RenderableType:
    """Make one table over several runs, with the reasons of those that failed beneath it.

    Args:
        rows: the runs, in the order to show them.
        columns: keys of the results; those that no run fills are left out, and in a narrow terminal so are those of
            `LEAST`, as far as needed, which a line beneath the table then names.
    """
    differing = short(_union(row.differs for row in rows))
    filled = [key for key in columns if any(row.results.get(key) is not None for row in rows)]
    return _Comparison(rows, differing, filled)


class _Comparison(NamedTuple):
    rows: Sequence[RunRow]
    differing: Mapping[str, str]
    columns: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from self._fitting(self._table, LEAST, console, options)
        for row in self.rows:
            _, failed, reason = row.status.partition(":")
            if failed:
                which = ", ".join(f"{self.differing[key]}={value}" for key, value in row.differs.items())
                yield Text(f"{which}: {reason.strip()}" if which else reason.strip())
        if pairs := averaged(self.rows):
            yield ""
            least = (*LEAST, "cost/params", "corrupted/acc")
            yield from self._fitting(partial(self._means, pairs), least, console, options)

    def _fitting(
        self,
        table: Callable[[Sequence[str]], Table],
        given_up: Sequence[str],
        console: Console,
        options: ConsoleOptions,
    ) -> Iterator[RenderableType]:
        """Make the table of the columns for which there is room, and say which are given up, the first first."""
        shown, unlimited = self.columns, options.update(max_width=10_000)
        for least in given_up:
            if Measurement.get(console, unlimited, table(shown)).maximum > options.max_width:
                shown = [key for key in shown if key != least]
        yield table(shown)
        if hidden := [column(key).head(brief=True) for key in self.columns if key not in shown]:
            yield Text(f"Too narrow for {', '.join(hidden)}: a wider terminal shows them.")

    def _means(self, pairs: Sequence[tuple[RunRow, RunRow]], columns: Sequence[str]) -> Table:
        names = {key: head for key, head in self.differing.items() if key not in REPEATS}
        heads = [column(key).head(brief=True) for key in columns]
        kinds = (
            "standard error over splits" if "splits" in center.status else "standard deviation" for center, _ in pairs
        )
        title = f"Mean ± {' or '.join(dict.fromkeys(kinds))}"
        table = grid(title, *names.values(), "over", *heads, names=len(names) + 1)
        for center, spread in pairs:
            cells = [*(str(center.differs[key]) for key in names), center.status]
            for key in columns:
                shown, around = (column(key).show(row.results.get(key)) for row in (center, spread))
                cells.append(f"{shown} ± {around}" if spread.results.get(key) else shown)
            add_row(table, *cells)
        return table

    def _table(self, columns: Sequence[str]) -> Table:
        heads = [column(key).head(brief=True) for key in columns]
        table = grid("", *self.differing.values(), *heads, "status", names=len(self.differing))
        table.columns[-1].justify = "left"
        for row in self.rows:
            names = [str(row.differs.get(key, "")) for key in self.differing]
            numbers = [column(key).show(number(row.results, key)) for key in columns]
            add_row(table, *names, *numbers, row.status.partition(":")[0])
        return table


def _scalars(row: RunRow) -> dict[str, object]:
    """Find a run's results that are one number each, and the members' means."""
    lists = {key for key, value in row.results.items() if isinstance(value, list) and not key.startswith("members/")}
    return {key: number(row.results, key) for key in row.results if key not in lists}


def write_csv(path: str | Path, rows: Sequence[RunRow]) -> None:
    """Write the runs with every scalar among their results and the members' means, a line each, then their averages.

    Raises:
        UserError: the file cannot be written.
    """
    differing = _union(row.differs for row in rows)
    written = [*rows, *chain.from_iterable(averaged(rows))]
    scalars = [_scalars(row) for row in written]
    keys = _union(scalars)
    lines = (
        [*(row.differs.get(key, "") for key in differing), row.status, *(values.get(key, "") for key in keys)]
        for row, values in zip(written, scalars, strict=True)
    )
    write_rows(path, [[*differing, "status", *keys], *lines])
