"""The tables that stand at the end of one run. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ensembles.reports.grid import add_row, grid
from ensembles.reports.numbers import count, decimal, mean, percent, three_digits

MEMBERS_SHOWN = 8  # more members than this are shown by their mean alone
QUALITY = {
    "accuracy %": ("acc", percent),
    "NLL": ("nll", decimal),
    "ECE": ("ece", decimal),
    "Brier": ("brier", decimal),
}
ERRORS = {"MSE": ("mse", three_digits), "RMSE": ("rmse", three_digits), "NLL": ("nll", decimal)}  # of a regression
STANDARD_CELLS = 75  # 15 types of corruption, five severities
OTHER_POINTS = {"train": "on the training points", "shift/extrapolation": "outside their interval"}
FRAMES = {"anchor_acc": "  anchor frames", "pmk_acc": "  with all frames like them"}
DETECTION = ("auroc", "aupr", "fpr95")
DIVERSITY = {
    "diversity/disagreement": ("disagreement between pairs, % of images", percent),
    "diversity/kl": ("KL divergence between pairs, nats", decimal),
    "diversity/ratio": ("disagreement / error rate", decimal),
    "diversity/variance": ("variance of the members' predictions, MSE that averaging saves", three_digits),
}
COST = {
    "cost/params": ("parameters", count),
    "cost/mult_adds": ("multiply-adds per image", count),
    "cost/forward_passes": ("forward passes of the backbone", decimal),
    "cost/images_per_second": ("images per second", count),
    "cost/ms_per_image": ("milliseconds per image", decimal),
}
COST_OF_NUMBERS = COST | {
    "cost/mult_adds": ("multiply-adds per input", count),
    "cost/images_per_second": ("inputs per second", count),
    "cost/ms_per_image": ("milliseconds per input", three_digits),
}


def _quality(results: Mapping) -> Table:
    quality = ERRORS if "test/mse" in results else QUALITY
    members = len(results.get("members/mse" if quality is ERRORS else "members/acc", ()))
    table = grid("Test set", "", *quality)

    def add(name, value_of, style=""):
        add_row(table, name, *(show(value_of(key)) for key, show in quality.values()), style=style)

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
    table = grid("Temperature scaling", "", "T", *QUALITY)

    def add(name, temperature, value_of):
        add_row(table, name, decimal(temperature), *(show(value_of(key)) for key, show in QUALITY.values()))

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
    quality = list(QUALITY.items())[:3]
    table = grid("Corrupted and shifted sets", "set", *(head for head, _ in quality))

    def add(name, prefix):
        add_row(table, name, *(show(results.get(f"{prefix}/{key}")) for _, (key, show) in quality))

    if "corrupted/acc" in results:
        cells = results.get("corrupted/cells", STANDARD_CELLS)
        add("corrupted" if cells == STANDARD_CELLS else f"corrupted, {cells} of {STANDARD_CELLS} cells", "corrupted")
    if "corrupted/mce" in results:
        add_row(table, "  mCE %, AlexNet's being 100", percent(results["corrupted/mce"]), "", "")
    if "corrupted_extra/acc" in results:
        add("corrupted, other types", "corrupted_extra")
    for key in results:
        prefix, _, metric = key.rpartition("/")
        if prefix.startswith("shift/") and metric == "acc":
            add(prefix.removeprefix("shift/"), prefix)
        elif prefix.startswith("shift/") and metric in FRAMES:
            add_row(table, FRAMES[metric], percent(results[key]), "", "")
    return table


def _detection(results: Mapping) -> Table:
    table = grid("Out-of-distribution detection", "set", "criterion", "AUROC %", "AUPR %", "FPR95 %", names=2)
    before = None
    for key in results:
        if key.startswith("ood/") and key.endswith("/auroc"):
            stem = key.removesuffix("/auroc")
            name, criterion = stem.removeprefix("ood/").rsplit("/", 1)
            shown = [percent(results.get(f"{stem}/{metric}")) for metric in DETECTION]
            add_row(table, "" if name == before else name, criterion.replace("_", " "), *shown)
            before = name
    return table


def _named_numbers(title: str, results: Mapping, rows: Mapping[str, tuple]) -> Table:
    table = grid(title, "", "")
    table.show_header = False
    for key, (name, show) in rows.items():
        if results.get(key) is not None:
            add_row(table, name, show(results[key]))
    return table


def show(results: Mapping, where: str | Path, console: Console | None = None) -> None:
    """Print what a run found, from its flat results, and the folder that holds them and the plots."""
    console = console or Console()
    tables = [
        _quality(results),
        _scaled(results),
        _named_numbers("Diversity of the members", results, DIVERSITY),
        _shifted(results),
        _detection(results),
        _named_numbers("Cost", results, COST_OF_NUMBERS if "test/mse" in results else COST),
    ]
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()
    console.print(Text(f"Results and plots: {where}"), soft_wrap=True)  # a path that is cut cannot be pasted
