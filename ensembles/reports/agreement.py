"""Whether a table's rows stand in the paper's order, by Welch's t test over seeds."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ensembles.reports.table_result import Cell, Line, TableResult

LEVEL = 0.05  # of the test: how often rows that are alike are told apart
VERDICTS = ("as in the paper", "reversed", "within chance")


def agreement(table: "TableResult") -> dict[str, Counter]:
    """Count the pairs of rows that are in the paper's order, by column and verdict.

    Pairs are those of the same data and network whose numbers the paper prints as different and which are compared and
    measured with several seeds here. A difference that Welch's t test does not find is within chance. Where several
    pairs of rows are the same runs, as at a smaller scale, the first is judged alone. What follows from the
    architecture alone, such as parameters, has no verdict.
    """
    found = {}
    for i, column in enumerate(table.columns):
        if column.key is not None and not column.key.startswith("cost/"):
            verdicts: dict[frozenset, str] = {}
            for first, second in combinations(table.lines, 2):
                runs = frozenset((_runs(first), _runs(second)))
                if first.names[1:] == second.names[1:] and len(runs) == 2 and runs not in verdicts:
                    verdict = _verdict(first.cells[i], second.cells[i])
                    verdicts |= {runs: verdict} if verdict else {}
            if verdicts:
                found[column.text] = Counter(verdicts.values())
    return found


def agreement_sentence(table: "TableResult") -> str | None:
    """Say in words what `agreement` counts; None where no pair can be judged."""
    counts = [f"{text} {'/'.join(str(of[v]) for v in VERDICTS)}" for text, of in agreement(table).items()]
    test = f"Welch's t test at {100 * LEVEL:.0f} %"
    return f"Pairs of rows {', '.join(VERDICTS)} ({test}): {', '.join(counts)}." if counts else None


def _runs(line: "Line") -> tuple[str, ...]:
    return tuple(run["folder"] for run in line.runs)


def _verdict(first: "Cell", second: "Cell") -> str | None:
    if any(cell.difference is None or cell.std is None for cell in (first, second)):
        return None
    printed = float(first.paper) - float(second.paper)
    if printed == 0:
        return None
    if not differ(first, second):
        return "within chance"
    return "as in the paper" if (first.mean - second.mean) * printed > 0 else "reversed"


def differ(first: "Cell", second: "Cell") -> bool:
    """Test whether the means differ (Welch, two-sided); without any spread they differ if they are not equal."""
    from scipy.special import stdtr  # here, as it takes most of a second

    error, freedom = welch([(cell.std**2, cell.seeds) for cell in (first, second)])
    return 2 * stdtr(freedom, -abs(first.mean - second.mean) / error) <= LEVEL if error else first.mean != second.mean


def welch(samples: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Compute the standard error of a sum of independent means, and its degrees of freedom (Welch, Satterthwaite).

    Args:
        samples: of each mean the sample's variance and size.
    """
    squares = [variance / size for variance, size in samples]
    total = sum(squares)
    if not total:
        return 0.0, math.inf
    freedom = total**2 / sum(s**2 / (size - 1) for s, (_, size) in zip(squares, samples, strict=True))
    return math.sqrt(total), freedom
