"""The spread of a quantity over settings, a box for each value of one of them. Torch is not imported here."""

from collections.abc import Sequence
from statistics import median

from matplotlib.figure import Figure

from ensembles.analysis.series import Drawing, FigureRow, Point, points, rows
from ensembles.reports import style
from ensembles.reports.schema import quantity


def boxes(lines: Sequence[FigureRow], x: str, show: Sequence[str]) -> Drawing:
    """Axes for each quantity; a dot is the mean over seeds of one combination of the other settings.

    Args:
        x: the head whose values stand on the axis.
        show: keys of results.
    """
    found = [
        point._replace(group=", ".join(f"{head} = {name}" for head, name in line.at.items() if head != x))
        for line in lines
        for point in points([line], lambda line: float(line.at[x]), show)
    ]
    places = sorted({point.x for point in found})
    figure = Figure(figsize=(3.3 * len(show), 3.0))
    said = []
    for axes, key in zip(figure.subplots(1, len(show), squeeze=False)[0], show, strict=True):
        means = [_means(found, key, place) for place in places]
        axes.boxplot(
            means,
            positions=range(len(places)),
            widths=0.55,
            showfliers=False,
            medianprops={"color": style.VERMILLION, "linewidth": 1.6},
            boxprops={"color": style.BLUE},
            whiskerprops={"color": style.BLUE},
            capprops={"color": style.BLUE},
        )
        for i, values in enumerate(means):
            axes.plot([i] * len(values), values, ".", color=style.BLACK, alpha=0.5, markersize=4)
        axes.set_xticks(range(len(places)), [f"{place:g}" for place in places])
        axes.set(xlabel=x.lower(), ylabel=quantity(key).axis)
        middles = [f"{median(values):.4g} at {place:g}" for place, values in zip(places, means, strict=True)]
        said.append(f"{quantity(key).axis}, median over {len(means[0])} settings: {', '.join(middles)} {x.lower()}.")
    return Drawing(figure, rows(found, "", "settings", x), said)


def _means(found: Sequence[Point], key: str, place: float) -> list[float]:
    return [point.mean for point in found if (point.key, point.x) == (key, place)]
