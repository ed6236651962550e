"""A paper's table or figure on the terminal and as files, with its scale in their names. Imports no torch."""

import os
from pathlib import Path

from rich.console import Console

from ensembles.errors import UserError
from ensembles.files import replacing, write_text
from ensembles.reports import figure_sheet, paper_table
from ensembles.reports.entry import Entry
from ensembles.reports.figure_sheet import FigureSheet
from ensembles.reports.page import page
from ensembles.reports.sheet import Sheet

WIDE = 200  # columns of the text file


def write_table(sheet: Sheet, out: Path) -> None:
    """Show a table, and write it as text, Markdown, CSV, JSON and a page."""
    stem = _place(sheet, out)
    console = Console()
    console.print(paper_table.text(sheet, console))
    with open(os.devnull, "w") as nowhere:
        wide = Console(file=nowhere, record=True, width=WIDE)
        wide.print(paper_table.text(sheet, wide))
    write_text(f"{stem}.txt", "\n".join(line.rstrip() for line in wide.export_text().splitlines()) + "\n")
    write_text(f"{stem}.md", paper_table.markdown(sheet))
    write_text(f"{stem}.csv", paper_table.to_csv(sheet))
    write_text(f"{stem}.json", sheet.json())
    write_text(f"{stem}.html", page(sheet.full_title, [paper_table.html(sheet)]))
    console.print(f"\nThe same as text, Markdown, CSV, JSON and a page: {stem}.*", soft_wrap=True)


def write_figure(sheet: FigureSheet, out: Path) -> None:
    """Say what a figure shows, and write it as PNG, PDF, CSV, JSON and Markdown."""
    stem = _place(sheet, out)
    for kind, picture in sheet.pictures.items():
        with replacing(f"{stem}.{kind}") as draft:
            draft.write_bytes(picture)
    write_text(f"{stem}.csv", figure_sheet.to_csv(sheet))
    write_text(f"{stem}.json", sheet.json())
    write_text(f"{stem}.md", figure_sheet.markdown(sheet, f"{stem.name}.png"))
    Console().print(figure_sheet.text(sheet), soft_wrap=True, highlight=False, markup=False)
    Console().print(f"\nThe figure, its data and what is said of it: {stem}.*", soft_wrap=True)


def _place(sheet: Entry, out: Path) -> Path:
    """Where it is written, without a suffix."""
    stem = out / (sheet.name if sheet.is_full else f"{sheet.name}-{sheet.scale}")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{stem.parent} cannot be made ({error.strerror}): choose another folder with --out."
        ) from error
    return stem
