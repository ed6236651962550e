"""Accuracy against inference speed, the area of a point as parameters (Packed-Ensembles, Figure 1)."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from matplotlib import rc_context
from matplotlib.figure import Figure

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.reports import style
from ensembles.reports.comparison import Place, name_points
from ensembles.reports.schema import count

KEYS = ("test/acc", "cost/images_per_second", "cost/params")
LARGEST = 700  # square points of area
SMALLEST = 12


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
    return Drawing(_drawn([(line.name, *numbers) for line, *numbers in found]), data, [f"{said}."])


def _drawn(points: Sequence[tuple[str, float, float, float]]) -> Figure:
    """Points with names, accuracies, images a second and parameters."""
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 4.2))
        axes = figure.subplots()
        largest = max(params for *_, params in points)
        places = []
        for i, (name, accuracy, speed, params) in enumerate(points):
            area = max(SMALLEST, LARGEST * params / largest)
            colour = style.SERIES[i % len(style.SERIES)]
            place = Place(speed, 100 * accuracy, 0, name, colour, math.sqrt(area / math.pi))
            axes.scatter(*place[:2], s=area, color=place.colour, alpha=0.55, edgecolor="white")
            places.append(place)
        axes.margins(0.12)
        style.logarithmic(axes)
        axes.set(xlabel="images a second in inference", ylabel="test accuracy (%)")
        axes.set_title(f"area: parameters, the largest {count(largest)}", loc="left")
        name_points(axes, places)
        return figure
