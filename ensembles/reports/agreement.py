"""Whether the rows of a table stand in the paper's order. Imports no torch."""

from collections import Counter
from itertools import combinations
from math import hypot

from ensembles.reports.sheet import Line, Sheet

ERRORS = 2  # standard errors within which a difference may be chance
VERDICTS = ("as in the paper", "reversed", "within chance")


def agreement(sheet: Sheet) -> dict[str, Counter]:
    """How many pairs of rows are in the paper's order, by column and verdict.

    Pairs are those of the same data and network whose numbers the paper prints as different and which are compared and
    measured with several seeds here. A difference of at most two standard errors is within chance. What follows from
    the architecture alone, such as parameters, has no verdict.
    """
    found = {}
    for i, column in enumerate(sheet.columns):
        if column.key is not None and not column.key.startswith("cost/"):
            pairs = [pair for pair in combinations(sheet.lines, 2) if pair[0].names[1:] == pair[1].names[1:]]
            counted = Counter(verdict for pair in pairs if (verdict := _verdict(*pair, i)))
            if counted:
                found[column.text] = counted
    return found


def sentence(sheet: Sheet) -> str | None:
    """The same in words; None where no pair can be judged."""
    counts = [f"{text} {'/'.join(str(of[v]) for v in VERDICTS)}" for text, of in agreement(sheet).items()]
    return f"Pairs of rows {', '.join(VERDICTS)} ({ERRORS} standard errors): {', '.join(counts)}." if counts else None


def _verdict(first: Line, second: Line, i: int) -> str | None:
    cells = first.cells[i], second.cells[i]
    if any(cell.difference is None or cell.std is None for cell in cells):
        return None
    printed = float(cells[0].paper) - float(cells[1].paper)
    here = cells[0].mean - cells[1].mean
    errors = [cell.std / _seeds(line) ** 0.5 for cell, line in zip(cells, (first, second), strict=True)]
    if printed == 0:
        return None
    if abs(here) <= ERRORS * hypot(*errors):
        return "within chance"
    return "as in the paper" if here * printed > 0 else "reversed"


def _seeds(line: Line) -> int:
    return sum(1 for run in line.runs if run.get("results"))
