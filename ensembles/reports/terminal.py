"""Tables for a terminal: of one run, and of several side by side. Imports no numpy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ensembles.files import write_rows
from ensembles.reports.schema import DECISIONS, column, decimal, mean, number, percent, quantity, three_digits

MEMBERS_SHOWN = 8  # more members than this are shown by their mean alone
QUALITY = ("acc", "nll", "ece", "brier")
ERRORS = ("mse", "rmse", "nll")  # of a regression
STANDARD_CELLS = 75  # 15 types of corruption, five severities
OTHER_POINTS = {"train": "on the training points", "shift/extrapolation": "outside their interval"}
FRAMES = ("anchor_acc", "pmk_acc")
DETECTION = ("auroc", "aupr", "fpr95")
DIVERSITY = ("diversity/disagreement", "diversity/kl", "diversity/ratio", "diversity/variance")
COST = ("cost/params", "cost/mult_adds", "cost/forward_passes", "cost/images_per_second", "cost/ms_per_image")
COMPARED = (
    *("test/acc", "test/mse", "test/rmse", "test/nll", "test/ece", "corrupted/acc", "corrupted/nll", "corrupted/ece"),
    *("members/acc", "diversity/disagreement", "cost/params"),
)
TOLD = ("test/acc", "test/mse", "test/nll", "test/ece", "members/acc")  # of a sweep's run, as soon as it is done
SPLIT = "data.split"
REPEATS = ("seed", SPLIT)  # settings by which a run is made again, not another one
LEAST = ("corrupted/nll", "diversity/disagreement", "corrupted/ece", "members/acc")  # the first is missed least


def _cell(text: str) -> Text:
    """Make a cell that is cut with dots rather than wrapped, and in which [brackets] are no markup."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def grid(title: str, *heads: str, names: int = 1) -> Table:
    """Make a table whose first columns are names and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify, table.title_style = title or None, "left", "bold"
    for i, head in enumerate(heads):
        # where the table is too wide rich narrows the columns that may wrap: the names
        table.add_column(_cell(head), justify="left" if i < names else "right", no_wrap=i >= names)
    return table


def add_row(table: Table, *cells: str, style: str = "") -> None:
    table.add_row(*map(_cell, cells), style=style)


def _heads(metrics: Sequence[str]) -> list[str]:
    return [quantity(metric).head() for metric in metrics]


def _quality(results: Mapping) -> Table:
    metrics = ERRORS if "test/mse" in results else QUALITY
    members = len(results.get(f"members/{metrics[0]}", ()))
    table = grid("Test set", "", *_heads(metrics))

    def add(name, value_of, style=""):
        add_row(table, name, *(quantity(metric).show(value_of(metric)) for metric in metrics), style=style)

    add("ensemble" if members > 1 else "network", lambda key: results.get(f"test/{key}"), style="bold")
    if members > 1:
        add("members' mean", lambda key: mean(results.get(f"members/{key}")))
    if 1 < members <= MEMBERS_SHOWN:
        for m in range(members):
            add(f"  member {m + 1}", lambda key, m=m: results.get(f"members/{key}", [None] * members)[m])
    for key in results:
        prefix, _, metric = key.rpartition("/")
        if metric == "mse" and prefix not in ("test", "members"):
            add(OTHER_POINTS.get(prefix, prefix), lambda key, prefix=prefix: results.get(f"{prefix}/{key}"))
    return table


def _scaled(results: Mapping) -> Table:
    table = grid("Temperature scaling", "", "T", *_heads(QUALITY))

    def add(name, temperature, value_of):
        numbers = [quantity(metric).show(value_of(metric)) for metric in QUALITY]
        add_row(table, name, decimal(temperature), *numbers)

    if "scaled/pool/temperature" in results:
        members = len(results["scaled/members/temperature"])
        who = "ensemble" if members > 1 else "network"
        add(f"{who} as trained", 1, lambda key: results.get(f"test/{key}"))
        add(f"{who} scaled", results["scaled/pool/temperature"], lambda key: results.get(f"scaled/pool/{key}"))
        if members > 1:
            temperature = mean(results["scaled/members/temperature"])
            add("mean of scaled members", temperature, lambda key: results.get(f"scaled/average/{key}"))
            add("members' mean as trained", 1, lambda key: mean(results.get(f"members/{key}")))
            add("members' mean scaled", temperature, lambda key: mean(results.get(f"scaled/members/{key}")))
    return table


def _shifted(results: Mapping) -> Table:
    metrics = QUALITY[:3]
    table = grid("Corrupted and shifted sets", "set", *_heads(metrics))

    def add(name, prefix):
        add_row(table, name, *(quantity(metric).show(results.get(f"{prefix}/{metric}")) for metric in metrics))

    if "corrupted/acc" in results:
        cells = results.get("corrupted/cells", STANDARD_CELLS)
        add("corrupted" if cells == STANDARD_CELLS else f"corrupted, {cells} of {STANDARD_CELLS} cells", "corrupted")
    if "corrupted/mce" in results:
        add_row(table, f"  {quantity('mce').full}", percent(results["corrupted/mce"]), "", "")
    if "corrupted_extra/acc" in results:
        add("corrupted, other types", "corrupted_extra")
    for key in results:
        prefix, _, metric = key.rpartition("/")
        if prefix.startswith("shift/") and metric == "acc":
            add(prefix.removeprefix("shift/"), prefix)
        elif prefix.startswith("shift/") and metric in FRAMES:
            add_row(table, f"  {quantity(metric).full}", percent(results[key]), "", "")
    return table


def _detection(results: Mapping) -> Table:
    table = grid("Out-of-distribution detection", "set", "criterion", *_heads(DETECTION), names=2)
    before = None
    for key in results:
        if key.startswith("ood/") and key.endswith("/auroc"):
            stem = key.removesuffix("/auroc")
            name, criterion = stem.removeprefix("ood/").rsplit("/", 1)
            shown = [percent(results.get(f"{stem}/{metric}")) for metric in DETECTION]
            add_row(table, "" if name == before else name, criterion.replace("_", " "), *shown)
            before = name
    return table


def _named_numbers(title: str, results: Mapping, keys: Sequence[str]) -> Table:
    table = grid(title, "", "")
    table.show_header = False
    for key in keys:
        if results.get(key) is not None:
            of = quantity(key)
            name, show = of.full or of.label, of.show
            if "test/mse" in results and key.startswith("cost/"):  # a regression's inputs are numbers
                name = name.replace("image", "input")
                show = three_digits if key == "cost/ms_per_image" else show
            add_row(table, name, show(results[key]))
    return table


def show(results: Mapping, where: str | Path, console: Console | None = None) -> None:
    """Print what a run found, from its flat results, and the folder that holds them and the plots."""
    console = console or Console()
    tables = [
        _quality(results),
        _scaled(results),
        _named_numbers("Diversity of the members", results, DIVERSITY),
        _named_numbers("Decisions", results, DECISIONS),
        _shifted(results),
        _detection(results),
        _named_numbers("Cost", results, COST),
    ]
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()
    console.print(Text(f"Results and plots: {where}"), soft_wrap=True)  # a path that is cut cannot be pasted


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
    keys = [key for key in TOLD if row.results.get(key) and row.results[key] != [row.results.get("test/acc")]]
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
        {key: fmean(values) for key, values in part.items() if all(isinstance(x, int | float) for x in values)}
        for part in numbers
    ]


def compare(rows: Sequence[RunRow], columns: Sequence[str] = COMPARED) -> RenderableType:
    """Make one table over several runs, with the reasons of those that failed beneath it.

    Args:
        rows: the runs, in the order to show them.
        columns: keys of the results; those that no run fills are left out, and in a narrow terminal so are those of
            `LEAST`, as far as needed.
    """
    differing = short(_union(row.differs for row in rows))
    filled = [key for key in columns if any(row.results.get(key) is not None for row in rows)]
    return _Comparison(rows, differing, filled)


class _Comparison(NamedTuple):
    rows: Sequence[RunRow]
    differing: Mapping[str, str]
    columns: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self._fitting(self._table, LEAST, console, options)
        for row in self.rows:
            _, failed, reason = row.status.partition(":")
            if failed:
                which = ", ".join(f"{self.differing[key]}={value}" for key, value in row.differs.items())
                yield Text(f"{which}: {reason.strip()}" if which else reason.strip())
        if pairs := averaged(self.rows):
            yield ""
            yield self._fitting(partial(self._means, pairs), (*LEAST, "cost/params", "corrupted/acc"), console, options)

    def _fitting(
        self,
        table: Callable[[Sequence[str]], Table],
        given_up: Sequence[str],
        console: Console,
        options: ConsoleOptions,
    ) -> Table:
        """Make the table of the columns for which there is room; some are given up, the first first."""
        shown, unlimited = self.columns, options.update(max_width=10_000)
        for least in given_up:
            if Measurement.get(console, unlimited, table(shown)).maximum > options.max_width:
                shown = [key for key in shown if key != least]
        return table(shown)

    def _means(self, pairs: Sequence[tuple[RunRow, RunRow]], columns: Sequence[str]) -> Table:
        names = {key: head for key, head in self.differing.items() if key not in REPEATS}
        heads = [column(key).head(brief=True) for key in columns]
        error = "standard error" in pairs[0][1].differs.values()
        title = "Mean ± standard error over splits" if error else "Mean ± standard deviation"
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
