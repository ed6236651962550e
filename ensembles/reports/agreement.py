"""Whether the rows of a table stand in the paper's order. Imports no torch."""

from collections import Counter
from itertools import combinations

from ensembles.reports.sheet import Cell, Line, Sheet

LEVEL = 0.05  # of Welch's t test: how often rows that are alike are told apart
VERDICTS = ("as in the paper", "reversed", "within chance")


def agreement(sheet: Sheet) -> dict[str, Counter]:
    """How many pairs of rows are in the paper's order, by column and verdict.

    Pairs are those of the same data and network whose numbers the paper prints as different and which are compared and
    measured with several seeds here. A difference that Welch's t test does not find is within chance. Where several
    pairs of rows are the same runs, as at a smaller scale, the first is judged alone. What follows from the
    architecture alone, such as parameters, has no verdict.
    """
    found = {}
    for i, column in enumerate(sheet.columns):
        if column.key is not None and not column.key.startswith("cost/"):
            verdicts: dict[frozenset, str] = {}
            for first, second in combinations(sheet.lines, 2):
                runs = frozenset((_runs(first), _runs(second)))
                if first.names[1:] == second.names[1:] and len(runs) == 2 and runs not in verdicts:
                    verdict = _verdict(first.cells[i], second.cells[i])
                    verdicts |= {runs: verdict} if verdict else {}
            if verdicts:
                found[column.text] = Counter(verdicts.values())
    return found


def sentence(sheet: Sheet) -> str | None:
    """The same in words; None where no pair can be judged."""
    counts = [f"{text} {'/'.join(str(of[v]) for v in VERDICTS)}" for text, of in agreement(sheet).items()]
    test = f"Welch's t test at {100 * LEVEL:.0f} %"
    return f"Pairs of rows {', '.join(VERDICTS)} ({test}): {', '.join(counts)}." if counts else None


def _runs(line: Line) -> tuple[str, ...]:
    return tuple(run["folder"] for run in line.runs)


def _verdict(first: Cell, second: Cell) -> str | None:
    if any(cell.difference is None or cell.std is None for cell in (first, second)):
        return None
    printed = float(first.paper) - float(second.paper)
    if printed == 0:
        return None
    if not differ(first, second):
        return "within chance"
    return "as in the paper" if (first.mean - second.mean) * printed > 0 else "reversed"


def differ(first: Cell, second: Cell) -> bool:
    """Whether the means differ by Welch's t test, two-sided; without any spread they differ if they are not equal."""
    from scipy.special import stdtr  # here, as it takes most of a second

    squares = [cell.std**2 / cell.seeds for cell in (first, second)]
    if sum(squares) == 0:
        return first.mean != second.mean
    freedom = sum(squares) ** 2 / sum(s**2 / (c.seeds - 1) for s, c in zip(squares, (first, second), strict=True))
    return 2 * stdtr(freedom, -abs(first.mean - second.mean) / sum(squares) ** 0.5) <= LEVEL
