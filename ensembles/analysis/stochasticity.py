"""What makes the members of an ensemble differ (Packed-Ensembles, section 5)."""

from collections.abc import Sequence
from dataclasses import replace

from ensembles.analysis.dots import dots
from ensembles.analysis.drawing import Drawing, Line


def stochasticity(lines: Sequence[Line], show: Sequence[Sequence[str]], pairs: str) -> Drawing:
    """The rows' quantities, and whether rows that differ in one thing alone have the same results to the last digit.

    Args:
        show: as `ensembles.analysis.dots.dots` takes it.
        pairs: the head in which the rows of a pair differ.
    """
    alike: dict[tuple, list[Line]] = {}
    for line in lines:
        alike.setdefault(tuple(name for head, name in line.row.at.items() if head != pairs), []).append(line)
    both = [pair for pair in alike.values() if len(pair) == 2]
    same = sum(_measured(first) == _measured(second) for first, second in both)
    drawing = dots(lines, show)
    if not both:
        return drawing
    what = " and ".join(line.row.at[pairs] for line in both[0])
    said = f"{what} algorithms: of {len(both)} pairs of rows, {same} have the same results to the last digit."
    return replace(drawing, findings=[*drawing.findings, said[0].upper() + said[1:]])


def _measured(line: Line) -> list[dict]:
    """The results but for the speeds, which never repeat."""
    return [{key: value for key, value in one.items() if not key.startswith("cost/")} for one in line.results]
