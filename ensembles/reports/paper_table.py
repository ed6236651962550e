"""A paper's table beside what was measured: as text, Markdown, CSV and HTML. Imports no torch."""

import csv
import io
from html import escape

from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ensembles.reports.agreement import sentence
from ensembles.reports.entry import standing
from ensembles.reports.sheet import Cell, Head, Line, Sheet

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
NOTHING = "-"
WIDEST_NAME = 28  # characters of a name that wraps in a terminal
KINDS = ("paper", "measured", "difference")


def head(column: Head) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.text}{unit}{ARROWS[column.better]}{column.mark}"


def paper(sheet: Sheet, cell: Cell) -> str:
    """What the paper prints, with its footnote; in brackets where it is of another scale than what is measured."""
    if cell.paper is None:
        return NOTHING
    return (cell.paper if sheet.is_full else f"({cell.paper})") + cell.mark


def measured(cell: Cell, line: Line, column: Head) -> str:
    """Mean ± standard deviation, and in brackets the mean as the paper counts; ``missing`` if the row is.

    A cost that is the same for all seeds has no deviation.
    """
    if cell.mean is None:
        return NOTHING if line.status == "done" or column.key is None else "missing"
    fixed = (column.key or "").startswith("cost/") and cell.std == 0
    spread = "" if cell.std is None or fixed else f" ± {cell.std:.{cell.decimals}f}"
    counted = "" if cell.counted is None else f" [{cell.counted:.{cell.decimals}f}]"
    return f"{cell.mean:.{cell.decimals}f}{spread}{counted}"


def difference(cell: Cell) -> str:
    return NOTHING if cell.difference is None else f"{cell.difference:+.{cell.decimals}f}"


def kinds(sheet: Sheet) -> dict[str, str]:
    """How the three lines of a row are called."""
    scale = "" if sheet.is_full else ", full scale"
    return {"paper": f"paper{scale}", "measured": "measured", "difference": "difference"}


def _three(sheet: Sheet, line: Line) -> list[list[str]]:
    """The row's three lines: paper, measured, difference."""
    return [
        [paper(sheet, cell) for cell in line.cells],
        [measured(cell, line, column) for cell, column in zip(line.cells, sheet.columns, strict=True)],
        [difference(cell) for cell in line.cells],
    ]


def _caption(sheet: Sheet) -> list[str]:
    """What stands beneath the table."""
    lines = [f"{sheet.paper}, {sheet.cites}."]
    if sheet.stands:
        lines.append(standing(sheet.scale, sheet.stands))
    if order := sentence(sheet):
        lines.append(order)
    return lines + [f"{mark} {note}".strip() for mark, note in sheet.notes]


def text(sheet: Sheet, console: Console) -> RenderableType:
    """For a terminal: three lines a row; columns for which it is too narrow follow in tables of their own."""
    unbounded = console.options.update(max_width=10_000)
    tables: list[Table] = []
    start = 0
    for end in range(1, len(sheet.columns) + 1):
        wider = _part(sheet, range(start, end))
        if tables and end > start + 1 and Measurement.get(console, unbounded, wider).maximum <= console.width:
            tables[-1] = wider
        else:
            start = end - 1
            tables.append(_part(sheet, range(start, end)))
    tables[0].title, tables[0].title_justify, tables[0].title_style = Text(sheet.full_title), "left", "bold"
    return Group(*(part for table in tables for part in (table, "")), *(Text(line) for line in _caption(sheet)))


def _part(sheet: Sheet, columns: range) -> Table:
    """A table of some of the columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in sheet.heads:
        table.add_column(Text(name), max_width=WIDEST_NAME)
    table.add_column(no_wrap=True)
    for i in columns:
        table.add_column(Text("\n".join(head(sheet.columns[i]).split())), justify="right", no_wrap=True)
    styles = ("" if sheet.is_full else "grey50", "bold", "dim")
    for line in sheet.lines:
        for names, kind, cells, style in zip(*_labels(sheet, line), _three(sheet, line), styles, strict=True):
            numbers = [Text(cells[i], style=style) for i in columns]
            table.add_row(*map(Text, names), Text(kind, style=style), *numbers, end_section=kind == "difference")
    return table


def _labels(sheet: Sheet, line: Line) -> tuple[list[list[str]], list[str]]:
    """What stands at the left of the row's three lines: its names, its status if it is not done; and what they are."""
    blank = [""] * len(line.names)
    status = [*blank[1:], "" if line.status == "done" else line.status]
    return [_names(line), status[::-1], blank], list(kinds(sheet).values())


def _names(line: Line) -> list[str]:
    return [*line.names[:-1], f"{line.names[-1]}{line.mark}"]


def markdown(sheet: Sheet) -> str:
    """For a document: three lines a row."""
    heads = [*sheet.heads, "", *(head(column) for column in sheet.columns)]
    lines = [heads, ["---"] * (len(sheet.heads) + 1) + ["---:"] * len(sheet.columns)]
    for line in sheet.lines:
        three = _three(sheet, line)
        if not sheet.is_full:
            three[0] = [f"*{cell}*" for cell in three[0]]
        lines += [[*names, kind, *cells] for names, kind, cells in zip(*_labels(sheet, line), three, strict=True)]
    table = "\n".join(f"| {' | '.join(_plain(cell) for cell in cells)} |" for cells in lines)
    caption = "\n\n".join(_plain(line) for line in _caption(sheet))
    return f"## {_plain(sheet.full_title)}\n\n{table}\n\n{caption}\n"


def _plain(cell: str) -> str:
    return cell.replace("|", r"\|").replace("\n", " ")


def to_csv(sheet: Sheet) -> str:
    """A line for each cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    of_paper = "paper" if sheet.is_full else "paper (full scale)"
    words = ["table", "scale", *sheet.heads, "cited", "status", "column", "unit", "better"]
    writer.writerow([*words, of_paper, "measured", "std", "seeds", "counted as the paper does", "difference"])
    for line in sheet.lines:
        for column, cell in zip(sheet.columns, line.cells, strict=True):
            numbers = [cell.paper, cell.mean, cell.std, cell.seeds, cell.counted, cell.difference]
            words = [sheet.name, sheet.scale, *line.names, line.cited, line.status]
            words += [column.text, column.unit, column.better]
            writer.writerow(["" if value is None else value for value in (*words, *numbers)])
    return file.getvalue()


def html(sheet: Sheet) -> str:
    """A sortable table for a page of `ensembles.reports.page`."""
    scale = "" if sheet.is_full else " stand-in"
    heads = "".join(f"<th>{escape(name)}</th>" for name in sheet.heads)
    heads += "".join(f'<th class="number">{escape(head(column))}</th>' for column in sheet.columns)
    rows = "\n".join(_html_row(sheet, line) for line in sheet.lines)
    labels = {kind: escape(label) for kind, label in kinds(sheet).items()}
    key = (
        f'<p class="key">In each cell: <span class="paper">{labels["paper"]}</span>, '
        f'<span class="measured">{labels["measured"]}</span>, <span class="difference">{labels["difference"]}</span>; '
        "sorted by what is measured.</p>"
    )
    caption = "".join(f"<p>{escape(line)}</p>" for line in _caption(sheet))
    return (
        f'<section class="papers{scale}"><h2>{escape(sheet.full_title)}</h2>{key}'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table>{caption}</section>'
    )


def _html_row(sheet: Sheet, line: Line) -> str:
    missing = "" if line.status == "done" else f'<div class="status">{escape(line.status)}</div>'
    cells = [f"<td>{escape(name)}{missing if i == 0 else ''}</td>" for i, name in enumerate(_names(line))]
    for cell, shown in zip(line.cells, zip(*_three(sheet, line), strict=True), strict=True):
        order = "" if cell.mean is None else repr(cell.mean)
        parts = "".join(f'<div class="{kind}">{escape(part)}</div>' for kind, part in zip(KINDS, shown, strict=True))
        cells.append(f'<td class="number" data-order="{escape(order)}">{parts}</td>')
    return f"<tr>{''.join(cells)}</tr>"
