"""A paper's table or figure on the terminal and as files, with its scale in their names. Imports no torch."""

import json
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
    if _would_lose(sheet, stem):
        return
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
    Console().print(figure_sheet.text(sheet), soft_wrap=True, highlight=False, markup=False)
    if _would_lose(sheet, stem):
        return
    for kind in ("png", "pdf"):
        if kind in sheet.pictures:
            with replacing(f"{stem}.{kind}") as draft:
                draft.write_bytes(sheet.pictures[kind])
        else:  # none of an earlier drawing beside what says that nothing is drawn
            Path(f"{stem}.{kind}").unlink(missing_ok=True)
    write_text(f"{stem}.csv", figure_sheet.to_csv(sheet))
    write_text(f"{stem}.json", sheet.json())
    write_text(f"{stem}.md", figure_sheet.markdown(sheet, f"{stem.name}.png"))
    Console().print(f"\nThe figure, its data and what is said of it: {stem}.*", soft_wrap=True)


def _would_lose(sheet: Entry, stem: Path) -> bool:
    """Whether the files that are there have more finished runs than the sheet; says so, as they then stay."""
    try:
        before = _finished(Path(f"{stem}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):  # none, or none that could be shown
        return False
    now = _finished(sheet.json())
    if now < before:
        said = f"{stem}.* stay as they are, as they have {before} finished runs and this has {now}: "
        fix = "bring back the runs that are missing, or write to another folder with --out."
        Console().print(f"\n{said}{fix}", soft_wrap=True, markup=False)
    return now < before


def _finished(text: str) -> int:
    """How many runs have results in a sheet's JSON."""
    return sum(bool(run["results"]) for line in json.loads(text)["lines"] for run in line["runs"])


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
