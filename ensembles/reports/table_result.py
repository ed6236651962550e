"""A paper's table beside what was measured: as plain data, text, Markdown and CSV. Imports no torch."""

import csv
import io
import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ensembles.reports.agreement import agreement_sentence
from ensembles.reports.page import page
from ensembles.reports.paper_result import PaperResult, substitutions_sentence
from ensembles.reports.schema import ARROWS, MISSING

OF_NETWORK = ("cost/params", "cost/mult_adds")  # keys of a network's size
WIDEST_NAME = 28  # characters of a name that wraps in a terminal
WIDE = 200  # columns of the text file
NOT_RUN = "missing"  # status of a row that was not run
UNMEASURED = "not measured at this scale"  # status of a row that nothing stands for
Number = int | float | None


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
    better: Literal["higher", "lower"] | None
    mark: str = ""

    def __str__(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.text}{unit}{ARROWS[self.better]}{self.mark}"


@dataclass(frozen=True)
class Cell:
    """One number of the paper beside one of ours, both as the paper scales them.

    Attributes:
        paper: as printed; None where nothing is.
        mean, std: of the measured numbers; None where there is none, and std where there is one only.
        difference: mean minus paper; None where the two do not compare, as at another scale than the paper's.
        decimals: to show.
        counted: the mean as the paper counts, where it counts its own way.
        mark: of the footnote.
        seeds: runs that have the number.
    """

    paper: str | None = None
    mean: Number = None
    std: Number = None
    difference: Number = None
    decimals: Annotated[int, Field(ge=0, le=20)] = 3
    counted: Number = None
    mark: str = ""
    seeds: int = 0


@dataclass(frozen=True)
class Line:
    """A row.

    Attributes:
        names: in the columns of names.
        cited: where the paper prints it.
        status: done, missing, `UNMEASURED`, ``1 of 3 seeds``, or what a run failed of or how far it is.
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

    @property
    def marked_names(self) -> list[str]:
        return [*self.names[:-1], f"{self.names[-1]}{self.mark}"]


@dataclass(frozen=True)
class TableResult(PaperResult):
    """A table.

    Attributes:
        heads: of the columns of names.
        notes: footnotes, by their marks; without a mark for the whole table.
    """

    KIND, KEYS = "table", {"lines", "columns"}
    SAYS = "The same as text, Markdown, CSV, JSON and a page"

    heads: list[str]
    columns: list[Head]
    lines: list[Line]
    notes: list[tuple[str, str]]

    @classmethod
    def _completed(cls, value: dict, path: Path) -> dict:
        """Give the cells of a file from before they had their own ``seeds`` their line's."""
        for line in value["lines"]:
            seeds = sum(1 for run in line["runs"] if run.get("results"))
            line["cells"] = [{"seeds": 0 if cell["mean"] is None else seeds, **cell} for cell in line["cells"]]
        return value

    @property
    def labels(self) -> tuple[str, ...]:
        """How the lines of a row are called; only at the paper's scale there are differences."""
        return ("paper", "measured", "difference") if self.is_full else ("paper, full scale", "measured")

    @property
    def shown(self) -> list[Line]:
        """The rows that stand in the table, where the others are named beneath it."""
        return [line for line in self.lines if line.status != UNMEASURED]

    def numbers(self, line: Line) -> list[list[str]]:
        """Write the row's lines: paper, measured and difference; the paper's alone of a row that was not run."""
        paper = [self._paper(cell) for cell in line.cells]
        if line.status == NOT_RUN:
            return [paper]
        found = [measured(cell, column) for cell, column in zip(line.cells, self.columns, strict=True)]
        return [paper, found, [difference(cell) for cell in line.cells]][: len(self.labels)]

    def _paper(self, cell: Cell) -> str:
        """Write what the paper prints, with its footnote; in brackets where what is measured is of another scale."""
        if cell.paper is None:
            return MISSING
        return (cell.paper if self.is_full else f"({cell.paper})") + cell.mark

    @property
    def caption(self) -> list[str]:
        """What stands beneath the table."""
        lines = [f"{self.paper}, {self.cites}."]
        if self.substitutions:
            lines.append(substitutions_sentence(self.scale, self.substitutions))
        if order := agreement_sentence(self):
            lines.append(order)
        if others := [", ".join(line.names) for line in self.lines if line.status == UNMEASURED]:
            lines.append(f"{UNMEASURED.capitalize()}: {'; '.join(others)}.")
        return lines + [f"{mark} {note}".strip() for mark, note in self.notes]

    def text(self, console: Console) -> RenderableType:
        """Write it for a terminal, a line for each label; columns without room follow in tables of their own."""
        unbounded = console.options.update(max_width=10_000)
        tables: list[Table] = []
        start = 0
        for end in range(1, len(self.columns) + 1):
            wider = self._part(range(start, end))
            if tables and end > start + 1 and Measurement.get(console, unbounded, wider).maximum <= console.width:
                tables[-1] = wider
            else:
                start = end - 1
                tables.append(self._part(range(start, end)))
        tables[0].title, tables[0].title_justify, tables[0].title_style = Text(self.full_title), "left", "bold"
        return Group(*(part for table in tables for part in (table, "")), *(Text(line) for line in self.caption))

    def _part(self, columns: range) -> Table:
        """Make a table of some of the columns of numbers."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for name in self.heads:
            table.add_column(Text(name), max_width=WIDEST_NAME)
        table.add_column(no_wrap=True)
        for i in columns:
            table.add_column(Text("\n".join(str(self.columns[i]).split())), justify="right", no_wrap=True)
        styles = ("" if self.is_full else "grey50", "bold", "dim")
        for line in self.shown:
            shown = self._labelled(line)
            for i, ((names, kind, cells), style) in enumerate(zip(shown, styles, strict=False), 1):
                numbers = [Text(cells[i], style=style) for i in columns]
                table.add_row(*map(Text, names), Text(kind, style=style), *numbers, end_section=i == len(shown) > 1)
        return table

    def _labelled(self, line: Line) -> list[tuple[list[str], str, list[str]]]:
        """Write the row's lines: its names or, in the second, its status if not done; what they are; the numbers."""
        blank, numbers = [""] * len(line.names), self.numbers(line)
        status = "" if line.status == "done" else line.status
        names = [line.marked_names, [status, *blank[1:]], blank]
        if len(numbers) == 1:
            first, *others = line.marked_names
            names = [[f"{first} ({status})", *others]]
        return list(zip(names, self.labels, numbers, strict=False))

    def markdown(self) -> str:
        """Write it for a document, a line for each label."""
        heads = [*self.heads, "", *map(str, self.columns)]
        lines = [heads, ["---"] * (len(self.heads) + 1) + ["---:"] * len(self.columns)]
        for line in self.shown:
            for names, kind, cells in self._labelled(line):
                is_others = kind == self.labels[0] and not self.is_full
                lines.append([*names, kind, *(f"*{cell}*" if is_others else cell for cell in cells)])
        table = "\n".join(f"| {' | '.join(_plain(cell) for cell in cells)} |" for cells in lines)
        caption = "\n\n".join(_plain(line) for line in self.caption)
        return f"## {_plain(self.full_title)}\n\n{table}\n\n{caption}\n"

    def csv(self) -> str:
        """Write a line for each cell."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        of_paper = "paper" if self.is_full else "paper (full scale)"
        words = ["table", "scale", *self.heads, "cited", "status", "column", "unit", "better"]
        writer.writerow([*words, of_paper, "measured", "std", "seeds", "counted as the paper does", "difference"])
        for line in self.lines:
            for column, cell in zip(self.columns, line.cells, strict=True):
                numbers = [cell.paper, cell.mean, cell.std, cell.seeds, cell.counted, cell.difference]
                words = [self.name, self.scale, *line.names, line.cited, line.status]
                words += [column.text, column.unit, column.better]
                writer.writerow(["" if value is None else value for value in (*words, *numbers)])
        return file.getvalue()

    def show(self, console: Console) -> None:
        console.print(self.text(console))

    def files(self, stem: Path) -> dict[str, str]:
        with open(os.devnull, "w") as nowhere:
            wide = Console(file=nowhere, record=True, width=WIDE)
            wide.print(self.text(wide))
        text = "\n".join(line.rstrip() for line in wide.export_text().splitlines()) + "\n"
        html = page(self.full_title, [self])
        return {"txt": text, "md": self.markdown(), "csv": self.csv(), "json": self.json(), "html": html}


def measured(cell: Cell, column: Head) -> str:
    """Write mean ± standard deviation, and in brackets the mean as the paper counts.

    A cost that is the same for all seeds has no deviation.
    """
    if cell.mean is None:
        return MISSING
    fixed = (column.key or "").startswith("cost/") and cell.std == 0
    spread = "" if cell.std is None or fixed else f" ± {cell.std:.{cell.decimals}f}"
    counted = "" if cell.counted is None else f" [{cell.counted:.{cell.decimals}f}]"
    return f"{cell.mean:.{cell.decimals}f}{spread}{counted}"


def difference(cell: Cell) -> str:
    return MISSING if cell.difference is None else f"{cell.difference:+.{cell.decimals}f}"


def _plain(cell: str) -> str:
    return cell.replace("|", r"\|").replace("\n", " ")
