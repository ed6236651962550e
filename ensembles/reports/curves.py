"""How a training went: the plot of what its metrics.csv holds."""

import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ensembles.reports import style
from ensembles.reports.schema import quantity

PANELS = ("loss", "acc", "mse", "nll", "ece", "lr")
LOOKS = {
    "train": (style.VERMILLION, "--", "training"),
    "val": (style.BLUE, "-", "validation"),
    "": (style.BLACK, "-", ""),
}
MONITORS = {"val/acc": "idxmax", "val/nll": "idxmin", "val/mse": "idxmin"}  # the first one that there is counts


def read_history(path: str | Path) -> pd.DataFrame:
    """Read a CSV with an ``epoch`` column (from 0): each column's mean over what was logged in an epoch (from 1).

    Empty cells, words and numbers that are not finite are left out.
    """
    try:
        history = pd.read_csv(path, on_bad_lines="skip")
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    history = history.apply(pd.to_numeric, errors="coerce").replace([math.inf, -math.inf], math.nan)
    found = history.groupby(history["epoch"] + 1).mean().drop(columns="epoch")
    return found.set_axis(found.index.astype(int)).dropna(axis="columns", how="all")


def best_epoch(history: pd.DataFrame) -> int | None:
    """Find the epoch that validation finds best, the first of equals; None without validation."""
    for column, best in MONITORS.items():
        if column in history:
            return int(getattr(history[column], best)())
    return None


def curves(history: pd.DataFrame, summed: int = 1) -> Figure | None:
    """Draw a training over epochs: a panel for each quantity, a line for each split; None if there is nothing to show.

    Args:
        summed: over how many members the training's loss is the sum; shown is that of one.
    """
    panels: dict[str, dict[str, pd.Series]] = {}
    for metric in PANELS:
        for column in history:
            split, _, of = column.rpartition("/")
            if of == metric and (split in ("train", "val") or metric == "lr"):
                panels.setdefault(metric, {})[split] = history[column].dropna()
    if not panels:
        return None
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(style.WIDTH, 0.5 + 1.6 * rows))
    grid = figure.add_gridspec(rows, 2)
    best = best_epoch(history)
    for i, (metric, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i // 2, :] if i == len(panels) - 1 and i % 2 == 0 else grid[i // 2, i % 2])
        for split, epochs in lines.items():
            scale = 1 / summed if metric == "loss" and split == "train" else quantity(metric).scale
            color, dashes, label = LOOKS[split]
            marker = "o" if len(epochs) <= 15 else None  # one epoch makes no line
            axes.plot(
                epochs.index, scale * epochs, color=color, linestyle=dashes, marker=marker, markersize=3, label=label
            )
        alone = [LOOKS[split][2] for split in lines] if len(lines) == 1 else []
        each = ["of a member"] if metric == "loss" and summed > 1 else []
        axes.set(title=" ".join([*alone, quantity(metric).axis, *each]).strip())
        if i // 2 == rows - 1:
            axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        if len(lines) > 1:
            axes.legend()
        if best is not None:
            marked = axes.axvline(best, color=style.GREY, linestyle=":")
    if best is not None:
        figure.legend([marked], [f"best epoch by validation: {best}"], loc="outside lower center")
    return figure
