"""A run's results as tables for a terminal. Imports no numpy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ensembles.reports.schema import DECISIONS, decimal, number, percent, quantity, three_digits

MEMBERS_SHOWN = 8  # more members than this are shown by their mean alone
QUALITY = ("acc", "nll", "ece", "brier")
ERRORS = ("mse", "rmse", "nll")  # of a regression
STANDARD_CELLS = 75  # 15 types of corruption, five severities
OTHER_POINTS = {"train": "on the training points", "shift/extrapolation": "outside their interval"}
FRAMES = ("anchor_acc", "pmk_acc")
DETECTION = ("auroc", "aupr", "fpr95")
DIVERSITY = ("diversity/disagreement", "diversity/kl", "diversity/ratio", "diversity/variance")
COST = ("cost/params", "cost/mult_adds", "cost/forward_passes", "cost/images_per_second", "cost/ms_per_image")


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


def _add(table: Table, names: Sequence[str], metrics: Sequence[str], results: Mapping, prefix: str, style="") -> None:
    """Add a row of the metrics with a prefix, of lists their means."""
    numbers = (quantity(metric).show(number(results, f"{prefix}/{metric}")) for metric in metrics)
    add_row(table, *names, *numbers, style=style)


def _quality(results: Mapping) -> Table:
    metrics = ERRORS if "test/mse" in results else QUALITY
    members = len(results.get(f"members/{metrics[0]}", ()))
    table = grid("Test set", "", *_heads(metrics))
    _add(table, ["ensemble" if members > 1 else "network"], metrics, results, "test", style="bold")
    if members > 1:
        _add(table, ["members' mean"], metrics, results, "members")
    for m in range(members if 1 < members <= MEMBERS_SHOWN else 0):
        own = {key: results[key][m] for metric in metrics if results.get(key := f"members/{metric}")}
        _add(table, [f"  member {m + 1}"], metrics, own, "members")
    for key in results:
        prefix, _, metric = key.rpartition("/")
        if metric == "mse" and prefix not in ("test", "members"):
            _add(table, [OTHER_POINTS.get(prefix, prefix)], metrics, results, prefix)
    return table


def _scaled(results: Mapping) -> Table:
    table = grid("Temperature scaling", "", "T", *_heads(QUALITY))
    if "scaled/pool/temperature" not in results:
        return table
    members = len(results["scaled/members/temperature"])
    pool, each = (number(results, f"scaled/{of}/temperature") for of in ("pool", "members"))
    who = "ensemble" if members > 1 else "network"
    rows = [(f"{who} as trained", 1, "test"), (f"{who} scaled", pool, "scaled/pool")]
    if members > 1:
        rows += [("mean of scaled members", each, "scaled/average"), ("members' mean as trained", 1, "members")]
        rows += [("members' mean scaled", each, "scaled/members")]
    for name, temperature, prefix in rows:
        _add(table, [name, decimal(temperature)], QUALITY, results, prefix)
    return table


def _shifted(results: Mapping) -> Table:
    metrics = QUALITY[:3]
    table = grid("Corrupted and shifted sets", "set", *_heads(metrics))
    if "corrupted/acc" in results:
        cells = results.get("corrupted/cells", STANDARD_CELLS)
        name = "corrupted" if cells == STANDARD_CELLS else f"corrupted, {cells} of {STANDARD_CELLS} cells"
        _add(table, [name], metrics, results, "corrupted")
    if "corrupted/mce" in results:
        add_row(table, f"  {quantity('mce').full}", percent(results["corrupted/mce"]), "", "")
    if "corrupted_extra/acc" in results:
        _add(table, ["corrupted, other types"], metrics, results, "corrupted_extra")
    for key in results:
        prefix, _, metric = key.rpartition("/")
        if prefix.startswith("shift/") and metric == "acc":
            _add(table, [prefix.removeprefix("shift/")], metrics, results, prefix)
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
