"""Results of a figure's rows as boxes over settings, as dots, and as a scatter. Torch is not imported here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensembles.analysis.series import MARKERS, Drawing, FigureRow, Point, points, rows, shown, values
from ensembles.reports import style
from ensembles.reports.comparison import Place, name_points
from ensembles.reports.schema import count, quantity, source_label

LARGEST, SMALLEST = 700, 12  # square points of a scatter's areas


def boxes(lines: Sequence[FigureRow], x: str, show: Sequence[str]) -> Drawing:
    """Draw boxes over settings on axes for each quantity; a dot is the mean over seeds of a combination of the others.

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
        at = {place: [point.mean for point in found if (point.key, point.x) == (key, place)] for place in places}
        means = list(at.values())
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
        for i, each in enumerate(means):
            axes.plot([i] * len(each), each, ".", color=style.BLACK, alpha=0.5, markersize=4)
        axes.set_xticks(range(len(places)), [f"{place:g}" for place in places])
        axes.set(xlabel=x.lower(), ylabel=quantity(key).axis)
        middles = [f"{median(each):.4g} at {place:g}" for place, each in at.items() if each]
        counts = sorted({len(each) for each in means if each})
        over = f"{' or '.join(map(str, counts))} setting{'s' * (counts != [1])}"
        said.append(f"{quantity(key).axis}, median over {over}: {', '.join(middles)} {x.lower()}.")
    return Drawing(figure, rows(found, "", "settings", x), said)


def dots(lines: Sequence[FigureRow], show: Sequence[Sequence[str]], printed: Sequence[Mapping] = ()) -> Drawing:
    """Draw a line for each row, as dots with bars of a standard deviation over seeds, on axes for each quantity.

    Args:
        show: for each of the axes the keys of results that it shows, of one unit.
        printed: numbers of the paper's, drawn as grey crosses: ``at``, head -> value; result key -> number as drawn.
    """
    found = [
        Point("", line.name, key, -i, numbers)
        for i, line in enumerate(lines)
        for keys in show
        for key in keys
        if (numbers := values(line, key))
    ]
    figure = Figure(figsize=(2.2 + 2.3 * len(show), 1.0 + 0.32 * len(lines)))
    for i, (axes, keys) in enumerate(zip(figure.subplots(1, len(show), squeeze=False)[0], show, strict=True)):
        for j, key in enumerate(keys):
            _series(axes, [point for point in found if point.key == key], j, len(keys))
        for place, line in enumerate(lines):
            of_line = [mark for mark in printed if mark["at"].items() <= dict(line.at).items()]
            marks = [float(mark[key]) for mark in of_line for key in keys if key in mark]
            axes.plot(marks, [-place] * len(marks), "x", color=style.GREY, zorder=1)
        axes.set_yticks([-place for place in range(len(lines))], [line.name for line in lines] if i == 0 else [])
        axes.set_ylim(0.6 - len(lines), 0.6)
        axes.set(xlabel=quantity(keys[0]).axis)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    data = [{"row": point.group, **point.record()} for point in found]
    return Drawing(figure, data, _findings(found, show))


def _series(axes: Axes, some: Sequence[Point], number: int, of: int) -> None:
    """Draw one quantity of all rows; several of one unit stand beneath one another in a row."""
    axes.errorbar(
        [point.mean for point in some],
        [point.x + 0.5 * ((of - 1) / 2 - number) / of for point in some],
        xerr=[point.std for point in some],
        color=style.colour(number),
        marker=MARKERS[number % len(MARKERS)],
        linestyle="none",
        elinewidth=1,
        label=source_label(some[0].key) if some else None,
    )


def _findings(found: Sequence[Point], show: Sequence[Sequence[str]]) -> list[str]:
    """Say what each row has, or of several quantities of one unit the best one."""
    said = []
    for keys in show:
        label, better = quantity(keys[0]).axis, quantity(keys[0]).better
        texts = []
        for name in dict.fromkeys(point.group for point in found):
            some = [point for point in found if point.group == name and point.key in keys]
            if len(some) > 1:
                best = (max if better == "higher" else min)(some, key=lambda point: point.mean)
                texts.append(f"{name} by {source_label(best.key)} ({shown(best)})")
            elif some:
                texts.append(f"{name} {shown(some[0])}")
        if texts:
            said.append(f"{f'Best {label}' if len(keys) > 1 else label}: {'; '.join(texts)}.")
    return said


def stochasticity(lines: Sequence[FigureRow], show: Sequence[Sequence[str]], pairs: str) -> Drawing:
    """Draw `dots`, and say whether rows that differ in one thing alone have the same results to the last digit.

    Args:
        show: as `dots` takes it.
        pairs: the head in which the rows of a pair differ.
    """
    alike: dict[tuple, list[FigureRow]] = {}
    for line in lines:
        alike.setdefault(tuple(name for head, name in line.at.items() if head != pairs), []).append(line)
    both = [pair for pair in alike.values() if len(pair) == 2]
    same = sum(_measured(first) == _measured(second) for first, second in both)
    drawing = dots(lines, show)
    if not both:
        return drawing
    what = " and ".join(line.at[pairs] for line in both[0])
    said = f"{what} algorithms: of {len(both)} pairs of rows, {same} have the same results to the last digit."
    return replace(drawing, findings=[*drawing.findings, said[0].upper() + said[1:]])


def _measured(line: FigureRow) -> list[dict]:
    """Keep the results but for the speeds, which never repeat."""
    return [{key: value for key, value in one.items() if not key.startswith("cost/")} for one in line.results]


def scatter(lines: Sequence[FigureRow], printed: Sequence[Mapping] = ()) -> Drawing:
    """Draw a point for each row, its mean over seeds: accuracy against speed, with the parameters as its area.

    Args:
        printed: numbers of the paper's, for the text beside the figure; no speed is among them.
    """
    data = [
        {
            "row": line.name,
            "accuracy (%)": 100 * fmean(one["test/acc"] for one in line.results),
            "std": 100 * stdev(one["test/acc"] for one in line.results) if len(line.results) > 1 else "",
            "images a second": fmean(one["cost/images_per_second"] for one in line.results),
            "parameters": fmean(one["cost/params"] for one in line.results),
            "seeds": len(line.results),
        }
        for line in lines
    ]
    said = "; ".join(
        f"{row['row']} {row['accuracy (%)']:.1f} % at {count(row['images a second'])} images a second with "
        f"{count(row['parameters'])} parameters"
        for row in sorted(data, key=lambda row: -row["accuracy (%)"])
    )
    figure = Figure(figsize=(7.2, 4.2))
    axes = figure.subplots()
    largest = max(row["parameters"] for row in data)
    places = []
    for i, row in enumerate(data):
        area = max(SMALLEST, LARGEST * row["parameters"] / largest)
        radius = math.sqrt(area / math.pi)
        place = Place(row["images a second"], row["accuracy (%)"], 0, row["row"], style.colour(i), radius)
        axes.scatter(*place[:2], s=area, color=place.colour, alpha=0.55, edgecolor="white")
        places.append(place)
    axes.margins(0.12)
    style.logarithmic(axes)
    axes.set(xlabel="images a second in inference", ylabel="test accuracy (%)")
    axes.set_title(f"area: parameters, the largest {count(largest)}", loc="left")
    name_points(axes, places)
    return Drawing(figure, data, [f"{said}."])
