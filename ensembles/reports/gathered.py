"""What is found in folders of runs, sweeps and papers' tables and figures. Imports no torch."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ensembles.errors import UserError, reason
from ensembles.reports import figure_sheet, sheet
from ensembles.reports.figure_sheet import FigureSheet
from ensembles.reports.sheet import Sheet

RESULTS, INDEX = "results.json", "index.json"


@dataclass(frozen=True)
class Found:
    """A finished run.

    Attributes:
        results: flat, as in results.json.
        provenance: where they come from.
        config: config.yaml as text.
    """

    folder: Path
    results: Mapping
    provenance: Mapping
    config: str

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def plots(self) -> list[Path]:
        """Its PNG files, the curves and the reliability diagram first."""
        first = [self.folder / "curves.png", self.folder / "reliability.png"]
        found = sorted(self.folder.glob("*.png"))
        return [path for path in first if path in found] + [path for path in found if path not in first]


def gather(folders: Iterable[Path]) -> tuple[list[Found], list[Sheet], list[FigureSheet]]:
    """The runs, tables and figures of folders: a run's, a sweep's, any that holds such, or a table's JSON; each once.

    Raises:
        UserError: a path that is not there, a damaged file, or folders that hold nothing finished.
    """
    runs: dict[Path, Found] = {}
    sheets: dict[Path, Sheet] = {}
    figures: dict[Path, FigureSheet] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.exists():
            raise UserError(f"There is no {folder}: name folders of runs, of sweeps or of tables.")
        for path in _files(folder):
            found = None if path.name in (RESULTS, INDEX) else _value(path)
            if sheet.is_sheet(found):
                sheets[path.resolve()] = sheet.read(path)
            elif figure_sheet.is_figure_sheet(found):
                figures[path.resolve()] = figure_sheet.read(path)
            for run in _runs(path):
                place = run.folder.resolve()
                known = runs.get(place)
                runs[place] = replace(known, results={**known.results, **run.results}) if known else run
    if not (runs or sheets or figures):
        raise UserError(f"There is no finished run in {', '.join(map(str, folders))}: a run has a {RESULTS}.")
    return list(runs.values()), list(sheets.values()), list(figures.values())


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    elif _is_run(folder):
        yield folder / RESULTS
    else:
        for path in filter(Path.is_file, sorted(folder.rglob("*.json"))):
            before = any(part.endswith(".previous") or part == "evaluations" for part in path.parts)
            if not before and not path.name.startswith(".") and path.name != "provenance.json":
                yield path


def _is_run(folder: Path) -> bool:
    return (folder / RESULTS).is_file() and (folder / "provenance.json").is_file()


def _runs(path: Path) -> Iterator[Found]:
    """The run that the file is of; or those that it tells of: as a sweep's index, or as a collection of results."""
    if path.name == RESULTS and _is_run(path.parent):
        yield _run(path.parent)
    elif path.name == INDEX:
        index = _value(path)
        listed = index.get("runs") if isinstance(index, dict) else None
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("folder"), str):
                folder = Path(index.get("started_in", "")) / entry["folder"]  # as the sweep named it where it started
                if (folder / RESULTS).is_file():
                    yield _run(folder)
    else:
        yield from _collected(path, _json(path) if path.name == RESULTS else _value(path))


def _collected(path: Path, value: object) -> Iterator[Found]:
    """The runs of a file of many: a list of entries that name their ``run``, or a mapping from names to them."""
    listed = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
    entries = value.items() if isinstance(value, dict) else [(e.get("run"), e) for e in value] if listed else []
    for name, entry in entries:
        if isinstance(name, str) and isinstance(entry, dict) and isinstance(entry.get("results"), dict):
            about = {key: item for key, item in entry.items() if key != "results"}
            called = name if listed else f"{path.parent.name}-{name}"
            yield Found(path.parent / called, entry["results"], about, "")


def _value(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None  # a file of something else


def _run(folder: Path) -> Found:
    provenance, config = folder / "provenance.json", folder / "config.yaml"
    return Found(
        folder,
        _json(folder / RESULTS, dict),
        _json(provenance, dict) if provenance.is_file() else {},
        config.read_text(encoding="utf-8") if config.is_file() else "",
    )


def _json(path: Path, kind: type = object):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise ValueError("it holds no values by names")
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): delete it or run its command again.") from error
