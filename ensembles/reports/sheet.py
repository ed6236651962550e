"""A paper's table beside what was measured, as plain data: what every rendering is made from. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ensembles.errors import UserError, reason
from ensembles.reports.entry import Entry

OF_NETWORK = ("cost/params", "cost/mult_adds")  # keys of a network's size


@dataclass(frozen=True)
class Head:
    """A column of numbers.

    Attributes:
        key: of results.json; None where nothing measures it.
        text, unit: as the paper prints them.
        better: higher, lower or None.
        mark: of the footnote.
    """

    key: str | None
    text: str
    unit: str
    better: str | None
    mark: str = ""


@dataclass(frozen=True)
class Cell:
    """One number of the paper beside one of ours, both as the paper scales them.

    Attributes:
        paper: as printed; None where nothing is.
        mean, std: of the measured numbers; None where there is none, and std where there is one only.
        difference: mean minus paper; None where the two do not compare.
        decimals: to show.
        counted: the mean as the paper counts, where it counts its own way.
        mark: of the footnote.
        seeds: runs that have the number.
    """

    paper: str | None = None
    mean: float | None = None
    std: float | None = None
    difference: float | None = None
    decimals: int = 3
    counted: float | None = None
    mark: str = ""
    seeds: int = 0


@dataclass(frozen=True)
class Line:
    """A row.

    Attributes:
        names: in the columns of names.
        cited: where the paper prints it.
        status: done, missing, ``1 of 3 seeds``, or as of `ensembles.runs` what a run failed of or how far it is.
        cells: in the columns' order.
        overrides: of train.py's command line.
        runs: for each seed its number, folder, results and provenance.
        mark: of the footnote.
    """

    names: list[str]
    cited: str
    status: str
    cells: list[Cell]
    overrides: list[str] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    mark: str = ""


@dataclass(frozen=True)
class Sheet(Entry):
    """A table.

    Attributes:
        heads: of the columns of names.
        notes: footnotes, by their marks; without a mark for the whole table.
    """

    heads: list[str]
    columns: list[Head]
    lines: list[Line]
    notes: list[tuple[str, str]]

    def json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Sheet:
    """A sheet that was written as JSON.

    Raises:
        UserError: a file that is no sheet.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        lines = [Line(**{**line, "cells": _cells(line)}) for line in value["lines"]]
        columns, notes = [Head(**column) for column in value["columns"]], [tuple(note) for note in value["notes"]]
        _require_types(columns, lines)
        return Sheet(**{**value, "columns": columns, "lines": lines, "notes": notes})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is not a table as scripts/reproduce.py writes it ({reason(error)}).") from error


def _require_types(columns: list[Head], lines: list[Line]) -> None:
    """See that what is shown as numbers are numbers."""
    if any(column.better not in ("higher", "lower", None) for column in columns):
        raise ValueError("a column is better in no known way")
    for cell in (cell for line in lines for cell in line.cells):
        numbers = (cell.mean, cell.std, cell.difference, cell.counted)
        if not all(value is None or type(value) in (int, float) for value in numbers):
            raise ValueError("a cell holds no number")
        if type(cell.decimals) is not int or not 0 <= cell.decimals <= 20:
            raise ValueError("a cell has no number of decimals")
    if not all(isinstance(name, str) for line in lines for name in (*line.names, line.status, line.mark)):
        raise ValueError("a line's names are no texts")


def _cells(line: dict) -> list[Cell]:
    """The line's cells; those of a file from before they had their own ``seeds`` get the line's."""
    seeds = sum(1 for run in line["runs"] if run.get("results"))
    return [Cell(**{"seeds": 0 if cell["mean"] is None else seeds, **cell}) for cell in line["cells"]]


def is_sheet(value: object) -> bool:
    return isinstance(value, Mapping) and {"lines", "columns", "cites", "scale"} <= value.keys()
