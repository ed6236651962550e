"""What figures over runs are drawn from, and what comes of it. Torch is not imported here."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from matplotlib.figure import Figure

from ensembles.reports.schema import quantity, repeated_over, scaled
from ensembles.runs import Run

MARKERS = "osD^vPX"


@dataclass(frozen=True)
class FigureRow:
    """A row of a figure, with the runs of it that are finished.

    Attributes:
        name: of the row.
        at: its place in the figure, head -> value.
        runs: one for each seed that has results, in the seeds' order.
    """

    name: str
    at: Mapping[str, str]
    runs: tuple[Run, ...]

    @cached_property
    def results(self) -> list[Mapping]:
        """The runs' results, in their order; also of a run that was evaluated on more sets than were asked for."""
        return [run.results() for run in self.runs]


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        data: what it shows, the rows of a CSV: mappings with the same keys.
        findings: what was measured, in plain sentences.
    """

    figure: Figure
    data: list[dict]
    findings: list[str]


class Point(NamedTuple):
    """A quantity at one place of an axis.

    Attributes:
        panel, group: what is drawn apart, and in another colour.
        values: one for each seed, of a speed for each round of timing; as drawn.
    """

    panel: str
    group: str
    key: str
    x: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Over the values; 0 where there is one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def record(self) -> dict:
        """Write it for the CSV, as drawn."""
        return {
            "result": self.key,
            "unit": quantity(self.key).axis,
            "mean": self.mean,
            "std": self.std if len(self.values) > 1 else "",
            repeated_over(self.key): len(self.values),
        }


def values(line: FigureRow, key: str) -> tuple[float, ...]:
    """Find a line's numbers as drawn, one for each seed that has it."""
    return tuple(number for results in line.results if (number := scaled(results, key)) is not None)


def points(
    lines: Sequence[FigureRow],
    place: Callable[[FigureRow], float],
    keys: Iterable[str],
    panel: str = "",
    group: str = "",
) -> list[Point]:
    """Find all points, in the order of their panels, groups and places.

    Args:
        place: a line's place on the axis.
        keys: of results.json.
        panel, group: heads of the entry's names, or nothing.
    """
    found = []
    for key in keys:
        for line in lines:
            if numbers := values(line, key):
                found.append(Point(line.at.get(panel, ""), line.at.get(group, ""), key, place(line), numbers))
    order = {name: i for i, name in enumerate(dict.fromkeys((p.panel, p.group) for p in found))}
    return sorted(found, key=lambda point: (order[point.panel, point.group], point.x))


def rows(points: Iterable[Point], panel: str, group: str, x: str) -> list[dict]:
    """Write points as rows of the CSV."""
    heads = {name: of for name, of in ((panel, "panel"), (group, "group")) if name}
    return [
        {**{name: getattr(point, of) for name, of in heads.items()}, x: point.x, **point.record()} for point in points
    ]


def named(head: str, name: str) -> str:
    """Write a name in a legend or a sentence: M = 3, but CIFAR-10."""
    try:
        float(name)
    except ValueError:
        return name
    return f"{head} = {name}"


def shown(point: Point) -> str:
    """Write a point's mean, such as 93.2 ± 0.1."""
    digits = quantity(point.key).digits
    spread = f" ± {point.std:.{digits}f}" if len(point.values) > 1 else ""
    return f"{point.mean:.{digits}f}{spread}"
