"""Accuracy against inference speed, the area of a point as parameters (Packed-Ensembles, Figure 1)."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.reports.schema import count
from ensembles.reports.tradeoff import TradeoffPoint, tradeoff

KEYS = ("test/acc", "cost/images_per_second", "cost/params")


def scatter(lines: Sequence[FigureRow], printed: Sequence[Mapping] = ()) -> Drawing:
    """A point for each row, its mean over seeds.

    Args:
        printed: numbers of the paper's, for the text beside the figure; no speed is among them.
    """
    found = [(line, *(fmean(one[key] for one in line.results) for key in KEYS)) for line in lines]
    data = [
        {
            "row": line.name,
            "accuracy (%)": 100 * accuracy,
            "std": 100 * stdev(one["test/acc"] for one in line.results) if len(line.results) > 1 else "",
            "images a second": speed,
            "parameters": params,
            "seeds": len(line.results),
        }
        for line, accuracy, speed, params in found
    ]
    order = sorted(data, key=lambda row: -row["accuracy (%)"])
    said = "; ".join(
        f"{row['row']} {row['accuracy (%)']:.1f} % at {count(row['images a second'])} images a second with "
        f"{count(row['parameters'])} parameters"
        for row in order
    )
    return Drawing(
        tradeoff([TradeoffPoint(line.name, line.name, *numbers) for line, *numbers in found]), data, [f"{said}."]
    )
