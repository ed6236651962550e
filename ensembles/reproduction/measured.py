"""What the runs of a table have measured, put beside what the paper prints."""

import math
import statistics
from collections.abc import Mapping, Sequence

from ensembles.papers import Column, Row, Table
from ensembles.papers.scales import SMALL
from ensembles.reports.paper_result import FULL
from ensembles.reports.table_result import OF_NETWORK, UNMEASURED, Cell, Head, Line, TableResult
from ensembles.reproduction.running import Planned, StudyRuns

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def fill(table: Table, planned: Sequence[Planned | StudyRuns]) -> TableResult:
    """Fill the table with all results that there are; a row without results is in it too."""
    measured = {entry.row.name: entry.results() for entry in planned}
    notes, by_text = [("", table.note)] if table.note else [], {}

    def mark(*texts: str | None) -> str:
        for text in filter(None, texts):
            if text not in by_text:
                by_text[text] = str(len(by_text) + 1).translate(SUPERSCRIPTS)
                notes.append((by_text[text], text))
        return ",".join(by_text[text] for text in texts if text)

    columns = [
        Head(c.key, c.head, c.unit, c.better, mark(_about(c, table), _absent(table, i, measured)))
        for i, c in enumerate(table.columns)
    ]
    lines, earlier = [], {}
    for entry in planned:
        row, found = entry.row, measured[entry.row.name]
        first, status = earlier.setdefault(entry.same or (row.number,), row), entry.status(found)
        same = None if first is row else f"the same runs as row {first.number} ({first.name})"
        is_shown, cells = status != UNMEASURED, []
        for i, column in enumerate(table.columns):
            own = row.counts.get(column.key)
            numbers = values(column, row, found, measured.get(column.over))
            cells.append(cell(table, i, row, numbers, mark(own and is_shown and own.how)))
        lines.append(
            Line(
                names=list(row.names),
                cited=f"{table.cites}, row {row.number}",
                status=status,
                cells=cells,
                overrides=entry.arguments,
                runs=entry.records(found),
                mark=mark(row.note, entry.note, same) if is_shown else "",
            )
        )
    return TableResult(**table.about, heads=list(table.heads), columns=columns, lines=lines, notes=notes)


def _about(column: Column, table: Table) -> str | None:
    if column.key is None:
        return f"not measured at {table.scale} scale"
    return column.apart and f"not compared: {column.apart}"


def _absent(table: Table, i: int, measured: Mapping[str, Sequence]) -> str | None:
    """Say of a column that no result has it, although rows are finished for which the paper prints it."""
    column = table.columns[i]
    if column.key is None:
        return None
    finished = [(row, one) for row in table.rows for one in measured.get(row.name, ()) if one is not None]
    if all(row.paper[i] is None for row, _ in finished):
        return None
    if any(column.key.format(criterion=row.criterion) in one for row, one in finished):
        return None
    if table.scale == SMALL:
        return f"not measured at {SMALL} scale"
    return f"{table.name}.yaml, column {i + 1} ({column.head}): no finished row has the key {column.key}"


DIGITS = 3  # shown of a stand-in's size, at the least


def values(column: Column, row: Row, found: Sequence, over: Sequence | None) -> list[float]:
    """Find the column's numbers of the row's runs that have it, as the paper scales them."""
    if column.key is None:
        return []
    key = column.key.format(criterion=row.criterion)
    divisors = [one[key] for one in over or () if one and one.get(key) is not None]
    if column.over and not divisors:
        return []
    divisor = statistics.fmean(divisors) if column.over else 1.0
    best = max if column.better == "higher" else min
    take = {None: lambda value: value, "count": len, "mean": statistics.fmean, "best": best}[column.take]
    return [column.scale * take(one[key]) / divisor for one in found if one and one.get(key) is not None]


def cell(table: Table, i: int, row: Row, numbers: list[float], mark: str) -> Cell:
    column, printed = table.columns[i], row.paper[i]
    own = row.counts.get(column.key)
    mean = statistics.fmean(numbers) if numbers else None
    compared = None
    if mean is not None and printed is not None and column.apart is None and table.scale == FULL:
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


def _decimals(table: Table, i: int, mean: float | None) -> int:
    """Say how many to show: as many as the paper prints, at the most, in the column; two of a ratio or a count that it
    rounds, and enough for the first digits of the size of a network that stands for the paper's."""
    printed = [row.paper[i] for row in table.rows if row.paper[i] is not None]
    most = max((-number.as_tuple().exponent for number in printed), default=3)
    column = table.columns[i]
    if not (column.take == "count" or (column.apart is None and column.over is None)):
        most = max(most, 2)
    if mean and column.key in OF_NETWORK and table.scale != FULL:
        most = max(most, DIGITS - 1 - math.floor(math.log10(abs(mean))))
    return most
