"""Accuracy against speed, the area of a point as parameters, as in Figure 1 of Packed-Ensembles."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

from ensembles.reports import style
from ensembles.reports.numbers import count

LARGEST = 700  # square points of area


class Point(NamedTuple):
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


def tradeoff(points: Sequence[Point]) -> Figure:
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
                s=[max(12, LARGEST * point.params / largest) for point in some],
                color=style.SERIES[i % len(style.SERIES)],
                alpha=0.55,
                edgecolor="white",
                label=group,
            )
        for point in points:
            axes.annotate(
                point.label,
                (point.images_per_second, 100 * point.accuracy),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.set_xscale("log")
        axes.margins(0.12)
        axes.set(xlabel="images a second in inference", ylabel="test accuracy (%)")
        axes.set_title(f"area: parameters, the largest {count(largest)}", loc="left")
        if len(groups) > 1:
            handles = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5)).legend_handles
            for handle in handles:
                handle.set_sizes([30])
        return figure
