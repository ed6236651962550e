"""Quantities of some rows, as dots with bars of a standard deviation over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensembles.analysis.curves import MARKERS
from ensembles.analysis.series import Drawing, FigureRow, Point, shown, values
from ensembles.reports import style
from ensembles.reports.schema import of_what, quantity


def dots(lines: Sequence[FigureRow], show: Sequence[Sequence[str]], printed: Sequence[Mapping] = ()) -> Drawing:
    """A line for each row of the entry, and beside one another axes for each quantity.

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
        for line, place in zip(lines, range(len(lines)), strict=True):
            marks = [float(mark[key]) for mark in printed for key in keys if key in mark and _is_of(mark, line)]
            axes.plot(marks, [-place] * len(marks), "x", color=style.GREY, zorder=1)
        axes.set_yticks([-place for place in range(len(lines))], [line.name for line in lines] if i == 0 else [])
        axes.set_ylim(0.6 - len(lines), 0.6)
        axes.set(xlabel=quantity(keys[0]).axis)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    data = [{"row": point.group, **point.record()} for point in found]
    return Drawing(figure, data, _findings(found, show))


def _is_of(mark: Mapping, line: FigureRow) -> bool:
    return all(line.at.get(head) == wanted for head, wanted in mark["at"].items())


def _series(axes: Axes, some: Sequence[Point], number: int, of: int) -> None:
    """One quantity of all rows; several of one unit stand beneath one another in a row."""
    axes.errorbar(
        [point.mean for point in some],
        [point.x + 0.5 * ((of - 1) / 2 - number) / of for point in some],
        xerr=[point.std for point in some],
        color=style.SERIES[number % len(style.SERIES)],
        marker=MARKERS[number % len(MARKERS)],
        linestyle="none",
        elinewidth=1,
        label=of_what(some[0].key) if some else None,
    )


def _findings(found: Sequence[Point], show: Sequence[Sequence[str]]) -> list[str]:
    """What each row has, or of several quantities of one unit the best one."""
    said = []
    for keys in show:
        label, better = quantity(keys[0]).axis, quantity(keys[0]).better
        texts = []
        for name in dict.fromkeys(point.group for point in found):
            some = [point for point in found if point.group == name and point.key in keys]
            if len(some) > 1:
                best = (max if better == "higher" else min)(some, key=lambda point: point.mean)
                texts.append(f"{name} by {of_what(best.key)} ({shown(best)})")
            elif some:
                texts.append(f"{name} {shown(some[0])}")
        said.append(f"{f'Best {label}' if len(keys) > 1 else label}: {'; '.join(texts)}.")
    return said


def stochasticity(lines: Sequence[FigureRow], show: Sequence[Sequence[str]], pairs: str) -> Drawing:
    """The rows' quantities, and whether rows that differ in one thing alone have the same results to the last digit.

    Args:
        show: as `ensembles.analysis.dots.dots` takes it.
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
    """The results but for the speeds, which never repeat."""
    return [{key: value for key, value in one.items() if not key.startswith("cost/")} for one in line.results]
