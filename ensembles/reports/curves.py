"""How a training went: the plot of what its metrics.csv holds."""

import csv
import math
from collections import defaultdict
from pathlib import Path

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
MONITORS = {"val/acc": max, "val/nll": min, "val/mse": min}  # the first that is there tells the best epoch

Series = dict[str, dict[int, float]]  # column -> epoch (from 1) -> mean of the values logged in it


def read_history(path: str | Path) -> Series:
    """Read a CSV with an ``epoch`` column (from 0); empty cells, words and numbers that are not finite are left out."""
    values = defaultdict(lambda: defaultdict(list))
    with Path(path).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            epoch = _number(row.pop("epoch", None))
            for column, cell in row.items():
                value = _number(cell)
                if epoch is not None and value is not None:
                    values[column][int(epoch) + 1].append(value)
    return {
        column: {epoch: sum(found) / len(found) for epoch, found in sorted(epochs.items())}
        for column, epochs in values.items()
    }


def _number(cell: object) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def best_epoch(series: Series) -> int | None:
    """The epoch that validation finds best, the first of equals; None without validation."""
    for column, best in MONITORS.items():
        if epochs := series.get(column):
            return best(epochs, key=epochs.get)
    return None


def curves(series: Series, summed: int = 1) -> Figure | None:
    """Training over epochs: a panel for each quantity, a line for each split; None where there is nothing to show.

    Args:
        summed: over how many members the training's loss is the sum; shown is that of one.
    """
    panels = _panels(series)
    if not panels:
        return None
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(style.WIDTH, 0.5 + 1.6 * rows))
    grid = figure.add_gridspec(rows, 2)
    best = best_epoch(series)
    for i, (metric, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i // 2, :] if i == len(panels) - 1 and i % 2 == 0 else grid[i // 2, i % 2])
        for split, epochs in lines.items():
            scale = 1 / summed if metric == "loss" and split == "train" else quantity(metric).scale
            color, dashes, label = LOOKS[split]
            marker = "o" if len(epochs) <= 15 else None  # one epoch makes no line
            values = [scale * value for value in epochs.values()]
            axes.plot(list(epochs), values, color=color, linestyle=dashes, marker=marker, markersize=3, label=label)
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


def _panels(series: Series) -> dict[str, dict[str, dict[int, float]]]:
    """Quantity -> split -> epoch -> value, of those worth a curve."""
    panels = {}
    for column, epochs in series.items():
        split, _, metric = column.rpartition("/")
        if metric in PANELS and (split in ("train", "val") or metric == "lr") and epochs:
            panels.setdefault(metric, {})[split] = epochs
    return {metric: panels[metric] for metric in PANELS if metric in panels}
