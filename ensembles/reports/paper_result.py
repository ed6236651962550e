"""A paper's table or figure as measured here: what both are, how both are kept, and the figure. Imports no torch."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import ClassVar, Self

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from rich.console import Console

from ensembles.errors import UserError, reason
from ensembles.files import load_json, replacing, write_text

FULL = "full"
OWN = "own"  # the paper's scale with overrides of the user's that change what is computed


def scale_mark(scale: str) -> str:
    """Say in a heading that a setting is not the paper's."""
    return f"{'OWN SETTING' if scale == OWN else f'{scale.upper()} SCALE'}, not the paper's setting"


def substitutions_sentence(scale: str, substitutions: Sequence[str]) -> str:
    """Say what stands for what."""
    return f"{'In this setting' if scale == OWN else f'At {scale} scale'} stand {'; '.join(substitutions)}."


@dataclass(frozen=True)
class PaperResult:
    """A table or figure.

    Attributes:
        name: <paper>/<table or figure>.
        title: without its scale.
        scale: full is the paper's setting, and own or <scale>-own one with overrides of the user's.
        substitutions: what stands for what at another scale.
        paper: its citation.
        cites: the place in the paper.
    """

    KIND: ClassVar[str]
    KEYS: ClassVar[set[str]]  # by which its JSON is known
    SAYS: ClassVar[str]  # of its files

    name: str
    title: str
    scale: str
    substitutions: list[str]
    paper: str
    cites: str

    @property
    def is_full(self) -> bool:
        return self.scale == FULL

    @property
    def full_title(self) -> str:
        """With the scale, unless it is the paper's."""
        return self.title if self.is_full else f"{scale_mark(self.scale)}: {self.title}"

    @property
    def anchor(self) -> str:
        """Its place in a page of several."""
        return f"{self.name}-{self.scale}"

    def json(self) -> str:
        """Write all but the pictures."""
        value = {key: item for key, item in asdict(self).items() if key != "pictures"}
        return json.dumps(value, indent=1, ensure_ascii=False, default=float) + "\n"

    @classmethod
    def is_in(cls, value: object) -> bool:
        """Say whether a JSON value is one of these."""
        return isinstance(value, Mapping) and {"cites", "scale", *cls.KEYS} <= value.keys()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what was saved as JSON.

        Raises:
            UserError: a file that is none.
        """
        try:
            value = load_json(path)
            if "stands" in value:  # as earlier versions called it
                value["substitutions"] = value.pop("stands")
            return TypeAdapter(cls).validate_python(cls._completed(value, path))
        except (OSError, ValueError, TypeError, KeyError) as error:
            said = f"is not a {cls.KIND} as ensembles reproduce writes it"
            raise UserError(f"{path} {said} ({reason(error)}).") from error

    @classmethod
    def _completed(cls, value: dict, path: Path) -> dict:
        """Add to the JSON's value what is not in it."""
        return value

    def show(self, console: Console) -> None:
        raise NotImplementedError

    def files(self, stem: Path) -> dict[str, str | bytes | None]:
        """Make the files' contents by suffix; None for one that is not to be there."""
        raise NotImplementedError

    def save(self, out: Path, shown: "PaperResult | None" = None) -> None:
        """Show it, and write its files below a folder, with the scale in their names.

        Files that have more finished runs stay as they are.

        Args:
            shown: what is shown in its place, such as a part of it.

        Raises:
            UserError: a folder that cannot be written to.
        """
        stem = out / (self.name if self.is_full else f"{self.name}-{self.scale}")
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{stem.parent} cannot be made ({error.strerror}): choose another folder with --out."
            ) from error
        console = Console()
        (shown or self).show(console)
        if self._would_lose(stem):
            return
        for suffix, content in self.files(stem).items():
            path = Path(f"{stem}.{suffix}")
            if content is None:
                path.unlink(missing_ok=True)
            elif isinstance(content, str):
                write_text(path, content)
            else:
                with replacing(path) as draft:
                    draft.write_bytes(content)
        console.print(f"\n{self.SAYS}: {stem}.*", soft_wrap=True)

    def _would_lose(self, stem: Path) -> bool:
        """Find whether the files that are there have more finished runs; print so, as they then stay."""
        try:
            before = _finished(Path(f"{stem}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):  # none, or none that could be shown
            return False
        now = _finished(self.json())
        if now < before:
            said = f"{stem}.* stay as they are, as they have {before} finished runs and this has {now}: "
            fix = "bring back the runs that are missing, or write to another folder with --out."
            Console().print(f"\n{said}{fix}", soft_wrap=True, markup=False)
        return now < before


def _finished(text: str) -> int:
    """Count the runs that have results in the JSON."""
    return sum(bool(run["results"]) for line in json.loads(text)["lines"] for run in line["runs"])


@dataclass(frozen=True)
class FigureResult(PaperResult):
    """A figure, as plain data and pictures.

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

    KIND, KEYS, SAYS = "figure", {"shows", "findings"}, "The figure, its data and what is said of it"

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

    @classmethod
    def _completed(cls, value: dict, path: Path) -> dict:
        image = path.with_suffix(".png")
        return {**value, "pictures": {"png": image.read_bytes()} if image.is_file() else {}}

    def paragraphs(self) -> list[tuple[str, list[str]]]:
        """Write what stands beneath the picture: sentences, each with the points of a list that follows it."""
        found = [(f"{self.paper}, {self.cites}. In the paper: {self.shows}", [])]
        if self.findings:
            found.append(("Here:", self.findings))
        if not self.pictures:
            found.append(("Nothing is drawn yet: too few rows have results.", []))
        if self.missing:
            found.append(("Missing:", self.missing))
        if self.printed:
            found.append(("The paper prints:", [_printed(entry) for entry in self.printed]))
        if self.substitutions:
            found.append((substitutions_sentence(self.scale, self.substitutions), []))
        return [*found, *([(self.note, [])] if self.note else [])]

    def text(self) -> str:
        """Write it for a terminal."""
        parts = [self.full_title]
        for sentence, points in self.paragraphs():
            parts.append("\n".join([sentence, *(f"  - {point}" for point in points)]))
        return "\n\n".join(parts)

    def markdown(self, image: str) -> str:
        """Write it for a document.

        Args:
            image: the PNG's path from there.
        """
        parts = [f"## {self.full_title}"]
        if self.pictures:
            parts.append(f"![{self.full_title}]({image})")
        for sentence, points in self.paragraphs():
            parts.append("\n".join([sentence, *([""] if points else []), *(f"- {point}" for point in points)]))
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """Write what is drawn; the columns are those of all its rows."""
        keys = dict.fromkeys(key for row in self.data for key in row)
        file = io.StringIO()
        writer = csv.DictWriter(file, ["figure", "scale", *keys], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"figure": self.name, "scale": self.scale, **row} for row in self.data)
        return file.getvalue()

    def show(self, console: Console) -> None:
        console.print(self.text(), soft_wrap=True, highlight=False, markup=False)

    def files(self, stem: Path) -> dict[str, str | bytes | None]:
        pictures = {kind: self.pictures.get(kind) for kind in ("png", "pdf")}  # none of an earlier drawing stays
        return {**pictures, "csv": self.csv(), "json": self.json(), "md": self.markdown(f"{stem.name}.png")}


def _printed(entry: Mapping) -> str:
    where = ", ".join(f"{head} = {value}" for head, value in entry.get("at", {}).items())
    numbers = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in ("at", "cites"))
    return f"{where}: {numbers} ({entry['cites']})" if "cites" in entry else f"{where}: {numbers}"
