"""What the runs of a table have measured, put beside what the paper prints."""

import json
from collections.abc import Mapping, Sequence

from ensembles.evaluations import PROVENANCE
from ensembles.papers.cells import cell, values
from ensembles.papers.plan import Planned
from ensembles.papers.tables import Column, Table
from ensembles.reports.sheet import Head, Line, Sheet
from ensembles.runs import Run, state

MARKS = "¹²³⁴⁵⁶⁷⁸⁹"  # and then twice
BEGUN = ("failed", "running", "unfinished")  # by what most needs to be known


def results(run: Run) -> dict | None:
    """The run's results: of its own evaluation, or of one that is the same on these test sets and on more."""
    return run.results()


def _json(path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def status(run: Run, found: Mapping | None) -> str:
    """As of `ensembles.runs`; done also by the results of an evaluation on more."""
    return "done" if found is not None else state(run)


def fill(table: Table, planned: Sequence[Planned]) -> Sheet:
    """The table with all results that there are; a row without results is in it too."""
    measured = {entry.row.name: [results(run) for run in entry.runs] for entry in planned}
    notes, by_text = [("", table.note)] if table.note else [], {}

    def mark(*texts: str | None) -> str:
        for text in filter(None, texts):
            if text not in by_text:
                number = len(by_text)
                by_text[text] = MARKS[number % len(MARKS)] * (number // len(MARKS) + 1)
                notes.append((by_text[text], text))
        return ",".join(by_text[text] for text in texts if text)

    columns = [
        Head(c.key, c.head, c.unit, c.better, mark(_about(c, table), _absent(table, i, measured)))
        for i, c in enumerate(table.columns)
    ]
    lines, earlier = [], {}
    for entry in planned:
        row, found = entry.row, measured[entry.row.name]
        first = earlier.setdefault(tuple(run.folder for run in entry.runs), row)
        cells = []
        for i, column in enumerate(table.columns):
            own = row.counts.get(column.key)
            numbers = values(column, row, found, measured.get(column.over))
            cells.append(cell(table, i, row, numbers, mark(own and own.how)))
        lines.append(
            Line(
                names=list(row.names),
                cited=table.cited(row),
                status=together([status(run, one) for run, one in zip(entry.runs, found, strict=True)]),
                cells=cells,
                overrides=entry.arguments,
                runs=[record(run, one) for run, one in zip(entry.runs, found, strict=True)],
                mark=mark(row.note, None if first is row else f"the same runs as row {first.number} ({first.name})"),
            )
        )
    texts = {key: getattr(table, key) for key in ("name", "title", "scale", "paper", "cites")}
    return Sheet(**texts, stands=list(table.stands), heads=list(table.heads), columns=columns, lines=lines, notes=notes)


def _about(column: Column, table: Table) -> str | None:
    if column.key is None:
        return f"not measured at {table.scale} scale"
    return column.apart and f"not compared: {column.apart}"


def _absent(table: Table, i: int, measured: Mapping[str, Sequence]) -> str | None:
    """What is said of a column that no result has although rows are finished for which the paper prints it."""
    column = table.columns[i]
    if column.key is None:
        return None
    finished = [(row, one) for row in table.rows for one in measured.get(row.name, ()) if one is not None]
    if all(row.paper[i] is None for row, _ in finished):
        return None
    if any(column.key.format(criterion=row.criterion) in one for row, one in finished):
        return None
    return f"{table.name}.yaml, column {i + 1} ({column.head}): no finished row has the key {column.key}"


def together(of_seeds: list[str]) -> str:
    """What is said of a row: how many of its runs are done, and of the others what most needs to be known."""
    done = of_seeds.count("done")
    if done == len(of_seeds):
        return "done"
    begun = [status for word in BEGUN for status in of_seeds if status.startswith(word)]
    if begun and begun[0].startswith("failed"):
        return begun[0]
    return ", ".join([*([f"{done} of {len(of_seeds)} seeds"] if done else []), *begun[:1]]) or "missing"


def record(run: Run, found: Mapping | None) -> dict:
    """What is kept of a run: no single corruption's cells, which are many."""
    kept = {
        key: value for key, value in (found or {}).items() if key.count("/") < 3 or not key.startswith("corrupted/")
    }
    place = run.evaluated
    provenance = _json(place / PROVENANCE) if place and found else {}
    return {"seed": run.config["seed"], "folder": str(run.folder), "results": kept, "provenance": provenance}
