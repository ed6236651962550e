"""One number of a row: of its runs' results, beside what the paper prints."""

import math
import statistics
from collections.abc import Sequence

from ensembles.papers.tables import Column, Row, Table
from ensembles.reports.entry import FULL
from ensembles.reports.sheet import OF_NETWORK, Cell

DIGITS = 3  # shown of a stand-in's size, at the least


def values(column: Column, row: Row, found: Sequence, over: Sequence | None) -> list[float]:
    """The column's numbers of the row's runs that have it, as the paper scales them."""
    numbers: list[float] = []
    if column.key is None:
        return numbers
    key = column.key.format(criterion=row.criterion)
    divisors = [one[key] for one in over or () if one and key in one]
    if column.over and not divisors:
        return numbers
    divisor = statistics.fmean(divisors) if column.over else 1.0
    for one in found:
        value = None if one is None else one.get(key)
        if value is not None:
            numbers.append(column.scale * _taken(column, value) / divisor)
    return numbers


def _taken(column: Column, value: float | list[float]) -> float:
    if column.take is None:
        return value
    take = {"count": len, "mean": statistics.fmean, "best": max if column.better == "higher" else min}[column.take]
    return take(value)


def cell(table: Table, i: int, row: Row, numbers: list[float], mark: str) -> Cell:
    column, printed = table.columns[i], row.paper[i]
    own = row.counts.get(column.key)
    mean = statistics.fmean(numbers) if numbers else None
    compared = None
    if mean is not None and printed is not None and column.apart is None and not _is_stand_ins(table, column):
        compared = (mean * own.times if own else mean) - float(printed)
    return Cell(
        paper=None if printed is None else str(printed),
        mean=mean,
        std=statistics.stdev(numbers) if len(numbers) > 1 else None,
        difference=compared,
        decimals=_decimals(table, i, mean),
        counted=None if mean is None or own is None else mean * own.times,
        mark=mark,
        seeds=len(numbers),
    )


def _is_stand_ins(table: Table, column: Column) -> bool:
    """Whether the numbers follow from the network that stands for the paper's."""
    return table.scale != FULL and column.key is not None and column.key.startswith("cost/")


def _decimals(table: Table, i: int, mean: float | None) -> int:
    """As many as the paper prints, at the most, in the column; a ratio or a count that it rounds gets two, and a
    stand-in's size enough for its first digits."""
    printed = [row.paper[i] for row in table.rows if row.paper[i] is not None]
    most = max((-number.as_tuple().exponent for number in printed), default=3)
    column = table.columns[i]
    if not (column.take == "count" or (column.apart is None and column.over is None)):
        most = max(most, 2)
    if mean and column.key in OF_NETWORK and _is_stand_ins(table, column):
        most = max(most, DIGITS - 1 - math.floor(math.log10(abs(mean))))
    return most
