"""A paper's figure as drawn here, as plain data and pictures; as Markdown, CSV and HTML. Imports no torch."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

from ensembles.errors import UserError, reason
from ensembles.reports.entry import Entry, standing
from ensembles.reports.page import picture


@dataclass(frozen=True)
class FigureSheet(Entry):
    """A figure.

    Attributes:
        shows: what the paper's figure shows.
        note: what a reader should know.
        printed: numbers that the paper prints, as the figure's file has them.
        findings: what was measured, in sentences.
        data: what is drawn, the rows of the CSV.
        lines: for each row its names, overrides, status and runs with results and provenance.
        provenance: of the drawing itself.
        pictures: png and pdf; none where nothing is drawn.
    """

    shows: str
    note: str
    printed: list[dict]
    findings: list[str]
    data: list[dict]
    lines: list[dict]
    provenance: dict
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def missing(self) -> list[str]:
        """The rows that are not done, each with its status."""
        return [f"{', '.join(line['names'])} ({line['status']})" for line in self.lines if line["status"] != "done"]

    def json(self) -> str:
        """All but the pictures."""
        value = {key: item for key, item in asdict(self).items() if key != "pictures"}
        return json.dumps(value, indent=1, ensure_ascii=False, default=float) + "\n"


def read(path: Path) -> FigureSheet:
    """A figure that was written as JSON, with the PNG beside it.

    Raises:
        UserError: a file that is no figure.
    """
    try:
        image = path.with_suffix(".png")
        pictures = {"png": image.read_bytes()} if image.is_file() else {}
        return FigureSheet(**json.loads(path.read_text(encoding="utf-8")), pictures=pictures)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a figure as scripts/reproduce.py writes it ({reason(error)}).") from error


def is_figure_sheet(value: object) -> bool:
    return isinstance(value, Mapping) and {"shows", "findings", "cites", "scale"} <= value.keys()


def paragraphs(sheet: FigureSheet) -> list[tuple[str, list[str]]]:
    """What stands beneath the picture: a sentence, and the points of a list that follows it."""
    found = [(f"{sheet.paper}, {sheet.cites}. In the paper: {sheet.shows}", [])]
    if sheet.findings:
        found.append(("Here:", sheet.findings))
    if not sheet.pictures:
        found.append(("Nothing is drawn yet: too few rows have results.", []))
    if sheet.missing:
        found.append(("Missing:", sheet.missing))
    if sheet.printed:
        found.append(("The paper prints:", [_printed(entry) for entry in sheet.printed]))
    if sheet.stands:
        found.append((standing(sheet.scale, sheet.stands), []))
    return [*found, *([(sheet.note, [])] if sheet.note else [])]


def _printed(entry: Mapping) -> str:
    where = ", ".join(f"{head} = {value}" for head, value in entry.get("at", {}).items())
    numbers = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in ("at", "cites"))
    return f"{where}: {numbers} ({entry['cites']})" if "cites" in entry else f"{where}: {numbers}"


def text(sheet: FigureSheet) -> str:
    """For a terminal."""
    parts = [sheet.full_title]
    for sentence, points in paragraphs(sheet):
        parts.append("\n".join([sentence, *(f"  - {point}" for point in points)]))
    return "\n\n".join(parts)


def markdown(sheet: FigureSheet, image: str) -> str:
    """For a document.

    Args:
        image: the PNG's path from there.
    """
    parts = [f"## {sheet.full_title}"]
    if sheet.pictures:
        parts.append(f"![{sheet.full_title}]({image})")
    for sentence, points in paragraphs(sheet):
        parts.append("\n".join([sentence, *([""] if points else []), *(f"- {point}" for point in points)]))
    return "\n\n".join(parts) + "\n"


def to_csv(sheet: FigureSheet) -> str:
    """What is drawn; the columns are those of all its rows."""
    keys = dict.fromkeys(key for row in sheet.data for key in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, ["figure", "scale", *keys], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"figure": sheet.name, "scale": sheet.scale, **row} for row in sheet.data)
    return file.getvalue()


def html(sheet: FigureSheet) -> str:
    """A section for a page of `ensembles.reports.page`."""
    scale = "" if sheet.is_full else " stand-in"
    parts = [f'<section class="papers{scale}"><h2>{escape(sheet.full_title)}</h2>']
    if "png" in sheet.pictures:
        parts.append(picture(sheet.pictures["png"], f"{sheet.name}, {sheet.cites}"))
    for sentence, points in paragraphs(sheet):
        items = "".join(f"<li>{escape(point)}</li>" for point in points)
        parts.append(f"<p>{escape(sentence)}</p>" + (f"<ul>{items}</ul>" if items else ""))
    return "".join([*parts, "</section>"])
