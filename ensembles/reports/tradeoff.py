"""Accuracy against speed, the area of a point as parameters, as in Figure 1 of Packed-Ensembles."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

from ensembles.reports import style
from ensembles.reports.schema import count

LARGEST = 700  # square points of area
LABELLED = 12  # more points than this and their labels cover one another
MARKERS = "os^D"  # one after the other, as the colours have all been used


class TradeoffPoint(NamedTuple):
    """A run, or the mean of several.

    Attributes:
        group: what shares a colour, such as the method.
        label: stands at the point.
    """

    group: str
    label: str
    accuracy: float
    images_per_second: float
    params: float


def tradeoff(points: Sequence[TradeoffPoint]) -> Figure:
    """The scatter; accuracy in %, images a second on a logarithmic axis."""
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 4.2))
        axes = figure.subplots()
        largest = max(point.params for point in points)
        groups = list(dict.fromkeys(point.group for point in points))
        for i, group in enumerate(groups):
            some = [point for point in points if point.group == group]
            axes.scatter(
                [point.images_per_second for point in some],
                [100 * point.accuracy for point in some],
                s=[_area(point, largest) for point in some],
                color=style.SERIES[i % len(style.SERIES)],
                marker=MARKERS[i // len(style.SERIES) % len(MARKERS)],
                alpha=0.55,
                edgecolor="white",
                label=group,
            )
        for point in points if len(points) <= LABELLED else ():
            radius = math.sqrt(_area(point, largest) / math.pi)
            axes.annotate(
                point.label,
                (point.images_per_second, 100 * point.accuracy),
                xytext=(0, radius + 2),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.margins(0.12)
        style.logarithmic(axes)
        axes.set(xlabel="images a second in inference", ylabel="test accuracy (%)")
        axes.set_title(f"area: parameters, the largest {count(largest)}", loc="left")
        if any(point.label != point.group for point in points) and len(groups) > 1:
            handles = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5)).legend_handles
            for handle in handles:
                handle.set_sizes([30])
        return figure


def _area(point: TradeoffPoint, largest: float) -> float:
    return max(12, LARGEST * point.params / largest)
