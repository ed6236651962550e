"""What the runs of a table have measured, put beside what the paper prints."""

import json
import statistics
from collections.abc import Mapping, Sequence

from ensembles.papers.plan import Planned
from ensembles.papers.tables import Column, Row, Table
from ensembles.reports.sheet import Cell, Head, Line, Sheet
from ensembles.runs import Run

SETS = ("ood_sets", "shift_sets", "ood", "shift")  # of the data's settings, those that name sets
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"  # and then twice


def results(run: Run) -> dict | None:
    """The run's results: of its own evaluation, or of one that is the same on these test sets and on more."""
    found = run.results()
    if found is None:
        evaluation = _json(run.provenance_file).get("evaluation")
        if evaluation is not None and _serves(evaluation, run.evaluation):
            found = _json(run.results_file) or None
    return found


def _serves(there: dict, wanted: dict) -> bool:
    """Whether an evaluation has all test sets of the wanted one, made alike, and is the same otherwise."""
    ours, theirs = wanted["data"], there.get("data", {})
    for key in ours.keys() | theirs.keys():
        if key in SETS:
            if not set(ours.get(key) or ()) <= set(theirs.get(key) or ()):
                return False
        elif ours.get("corrupt") and ours.get(key) != theirs.get(key):
            return False
    return all(there.get(key) == wanted[key] for key in wanted if key != "data")


def _json(path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def status(run: Run, found: Mapping | None) -> str:
    """done, missing or ``failed: reason``."""
    if found is not None:
        return "done"
    try:
        return f"failed: {run.error_log.read_text().strip().splitlines()[-1].partition(': ')[2]}"
    except (OSError, IndexError):
        return "missing"


def fill(table: Table, planned: Sequence[Planned]) -> Sheet:
    """The table with all results that there are; a row without results is in it too."""
    measured = {entry.row.name: [results(run) for run in entry.runs] for entry in planned}
    notes, by_text = [("", table.note)] if table.note else [], {}

    def mark(text: str | None) -> str:
        if not text:
            return ""
        if text not in by_text:
            number = len(by_text)
            by_text[text] = MARKS[number % len(MARKS)] * (number // len(MARKS) + 1)
            notes.append((by_text[text], text))
        return by_text[text]

    columns = [
        Head(column.key, column.head, column.unit, column.better, mark(_about(column, table)))
        for column in table.columns
    ]
    lines = []
    for entry in planned:
        row, found = entry.row, measured[entry.row.name]
        cells = []
        for i, column in enumerate(table.columns):
            own = row.counts.get(column.key)
            values = _values(column, row, found, measured.get(column.over))
            cells.append(_cell(table, i, row, values, own, mark(own.how if own else None)))
        lines.append(
            Line(
                names=list(row.names),
                cited=table.cited(row),
                status=together([status(run, one) for run, one in zip(entry.runs, found, strict=True)]),
                cells=cells,
                overrides=row.arguments,
                runs=[record(run, one) for run, one in zip(entry.runs, found, strict=True)],
                mark=mark(row.note),
            )
        )
    texts = {key: getattr(table, key) for key in ("name", "title", "scale", "paper", "cites")}
    return Sheet(**texts, stands=list(table.stands), heads=list(table.heads), columns=columns, lines=lines, notes=notes)


def _about(column: Column, table: Table) -> str | None:
    if column.key is None:
        return f"not measured at {table.scale} scale"
    return column.apart and f"not compared: {column.apart}"


def together(of_seeds: list[str]) -> str:
    done = of_seeds.count("done")
    if done == len(of_seeds):
        return "done"
    failed = [status for status in of_seeds if status.startswith("failed")]
    if failed:
        return failed[0]
    return f"{done} of {len(of_seeds)} seeds" if done else "missing"


def _values(column: Column, row: Row, found: Sequence, over: Sequence | None) -> list[float]:
    """The column's numbers of the row's runs that have it, as the paper scales them."""
    values = []
    if column.key is None:
        return values
    key = column.key.format(criterion=row.criterion)
    divisors = [one[key] for one in over or () if one and key in one]
    if column.over and not divisors:
        return values
    divisor = statistics.fmean(divisors) if column.over else 1.0
    for one in found:
        value = None if one is None else one.get(key)
        if value is not None:
            values.append(column.scale * (len(value) if column.count else value) / divisor)
    return values


def _cell(table: Table, i: int, row: Row, values: list[float], own, mark: str) -> Cell:
    printed = row.paper[i]
    mean = statistics.fmean(values) if values else None
    compared = None
    if mean is not None and printed is not None and table.columns[i].apart is None:
        compared = (mean * own.times if own else mean) - float(printed)
    return Cell(
        paper=None if printed is None else str(printed),
        mean=mean,
        std=statistics.stdev(values) if len(values) > 1 else None,
        difference=compared,
        decimals=_decimals(table, i),
        counted=None if mean is None or own is None else mean * own.times,
        mark=mark,
    )


def _decimals(table: Table, i: int) -> int:
    """As many as the paper prints, at the most, in the column; a ratio or a count that it rounds gets two."""
    printed = [row.paper[i] for row in table.rows if row.paper[i] is not None]
    most = max((-number.as_tuple().exponent for number in printed), default=3)
    column = table.columns[i]
    return most if column.count or (column.apart is None and column.over is None) else max(most, 2)


def record(run: Run, found: Mapping | None) -> dict:
    """What is kept of a run: no single corruption's cells, which are many."""
    kept = {
        key: value for key, value in (found or {}).items() if key.count("/") < 3 or not key.startswith("corrupted/")
    }
    provenance = _json(run.provenance_file) if found else {}
    return {"seed": run.config["seed"], "folder": str(run.folder), "results": kept, "provenance": provenance}
