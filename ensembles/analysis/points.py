"""A swept setting's lines as points with their spread over seeds. Torch is not imported here."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ensembles.analysis.drawing import Line
from ensembles.analysis.quantities import quantity, value


class Point(NamedTuple):
    """A quantity at one place of an axis.

    Attributes:
        panel, group: what is drawn apart, and in another colour.
        values: one for each seed, as drawn.
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
        """Over seeds; 0 where there is one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def record(self) -> dict:
        """For the CSV, as drawn."""
        return {
            "result": self.key,
            "unit": quantity(self.key).label,
            "mean": self.mean,
            "std": self.std if len(self.values) > 1 else "",
            "seeds": len(self.values),
        }


def values(line: Line, key: str) -> tuple[float, ...]:
    """A line's numbers as drawn, one for each seed that has it."""
    return tuple(number for results in line.results if (number := value(results, key)) is not None)


def points(
    lines: Sequence[Line], place: Callable[[Line], float], keys: Iterable[str], panel: str = "", group: str = ""
) -> list[Point]:
    """All points, in the order of their panels, groups and places.

    Args:
        place: a line's place on the axis.
        keys: of results.json.
        panel, group: heads of the entry's names, or nothing.
    """
    found = []
    for key in keys:
        for line in lines:
            if numbers := values(line, key):
                found.append(Point(line.row.at.get(panel, ""), line.row.at.get(group, ""), key, place(line), numbers))
    order = {name: i for i, name in enumerate(dict.fromkeys((p.panel, p.group) for p in found))}
    return sorted(found, key=lambda point: (order[point.panel, point.group], point.x))


def rows(points: Iterable[Point], panel: str, group: str, x: str) -> list[dict]:
    """For the CSV."""
    heads = {name: of for name, of in ((panel, "panel"), (group, "group")) if name}
    return [
        {**{name: getattr(point, of) for name, of in heads.items()}, x: point.x, **point.record()} for point in points
    ]


def named(head: str, name: str) -> str:
    """A name in a legend or a sentence: M = 3, but CIFAR-10."""
    try:
        float(name)
    except ValueError:
        return name
    return f"{head} = {name}"


def shown(point: Point) -> str:
    """Such as 93.2 ± 0.1."""
    decimals = 1 if abs(quantity(point.key).scale) == 100 else 3
    spread = f" ± {point.std:.{decimals}f}" if len(point.values) > 1 else ""
    return f"{point.mean:.{decimals}f}{spread}"
