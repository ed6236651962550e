"""Accuracy and calibration on corrupted images, against the severity of the corruption."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ensembles.reports import style
from ensembles.reports.schema import quantity

FAMILIES = {
    "noise": (style.VERMILLION, "-", ("gaussian_noise", "shot_noise", "impulse_noise")),
    "blur": (style.BLUE, "--", ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")),
    "weather": (style.GREEN, "-.", ("snow", "frost", "fog", "brightness")),
    "digital": (style.ORANGE, ":", ("contrast", "elastic_transform", "pixelate", "jpeg_compression")),
}
TYPE_LOOKS = {type: (color, dashes) for color, dashes, types in FAMILIES.values() for type in types}

BySeverity = dict[str, dict[int, float]]  # type -> severity -> value


def by_severity(results: Mapping[str, float], metric: str) -> BySeverity:
    """Find the metric of each standard type at each severity that the results have."""
    found: BySeverity = defaultdict(dict)
    for key, value in results.items():
        parts = key.split("/")
        if len(parts) == 4 and parts[0] == "corrupted" and parts[1] in TYPE_LOOKS and parts[3] == metric:
            found[parts[1]][int(parts[2])] = value
    return {type: dict(sorted(values.items())) for type, values in found.items()}


def severity(results: Mapping[str, float]) -> Figure | None:
    """Draw accuracy of each standard type, and ECE of each family of types, against severity, 0 being the test set.

    None where the results have no standard type of corruption.
    """
    accuracy, ece = (by_severity(results, metric) for metric in ("acc", "ece"))
    if not accuracy:
        return None
    figure = Figure(figsize=(style.WIDTH, 5.6))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    for type, values in accuracy.items():
        _severity_line(top, {0: results["test/acc"]} | values, 100, *TYPE_LOOKS[type], linewidth=0.9)
    for color, dashes, types in FAMILIES.values():
        if of_family := [ece[type] for type in types if type in ece]:
            _severity_line(bottom, {0: results["test/ece"]} | _mean(of_family), 1, color, dashes)
    for axes, metric, types in ((top, "acc", accuracy), (bottom, "ece", ece)):
        points = {0: results[f"test/{metric}"]} | _mean(types.values())
        _severity_line(axes, points, quantity(metric).scale, style.BLACK, "-", marker="o", linewidth=2, zorder=3)
        axes.set(ylabel=quantity(metric).axis)
        axes.set_ylim(bottom=0)
    severities = sorted({severity for values in accuracy.values() for severity in values})
    bottom.set_xticks([0, *severities], ["test set", *map(str, severities)])
    bottom.set_xlabel("severity")
    _name_lines(top, {type: (max(values), 100 * values[max(values)]) for type, values in accuracy.items()})
    shown = {name: looks for name, (*looks, types) in FAMILIES.items() if {*types} & accuracy.keys()}
    handles = [Line2D([], [], color=color, linestyle=dashes) for color, dashes in shown.values()]
    mean = Line2D([], [], color=style.BLACK, marker="o", linewidth=2)
    figure.legend([mean, *handles], ["mean", *shown], loc="outside upper center", ncols=5, columnspacing=1)
    return figure


def _mean(types: Iterable[Mapping[int, float]]) -> dict[int, float]:
    """Average over types at each severity that one of them has."""
    types = list(types)
    severities = sorted({severity for values in types for severity in values})
    return {severity: fmean(values[severity] for values in types if severity in values) for severity in severities}


def _severity_line(axes: Axes, points: Mapping[int, float], scale: float, color: str, dashes: str, **look) -> None:
    axes.plot(list(points), [scale * value for value in points.values()], color=color, linestyle=dashes, **look)


def _name_lines(axes: Axes, ends: Mapping[str, tuple[int, float]]) -> None:
    """Write the types' names at the right, in the order of their lines' ends, and no closer than they can be read."""
    low, high = axes.get_ylim()
    least, y = 0.067 * (high - low), -math.inf
    places = {}
    for type, (_, end) in sorted(ends.items(), key=lambda item: item[1][1]):
        y = places[type] = max(end, y + least)
    limit = high
    for type in reversed(places):  # those above the axes move down, and what is below them
        limit = places[type] = min(places[type], limit)
        limit -= least
    for type, place in places.items():
        axes.annotate(
            type.replace("_", " ").replace(" compression", "").replace(" transform", ""),
            ends[type],
            xytext=(1.06, place),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": TYPE_LOOKS[type][0], "linewidth": 0.5, "relpos": (0, 0.5)}
            | {"shrinkA": 0, "shrinkB": 1},
        )
