"""What is found in folders of runs, sweeps and papers' tables. Imports no torch."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ensembles.errors import UserError, reason
from ensembles.reports.sheet import Sheet, is_sheet, read

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


def gather(folders: Iterable[Path]) -> tuple[list[Found], list[Sheet]]:
    """The runs and tables of folders: a run's, a sweep's, any that holds such, or a table's JSON; each once.

    Raises:
        UserError: a path that is not there, a damaged file, or folders that hold nothing finished.
    """
    runs: dict[Path, Found] = {}
    sheets: dict[Path, Sheet] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.exists():
            raise UserError(f"There is no {folder}: name folders of runs, of sweeps or of tables.")
        for path in _files(folder):
            if path.name == RESULTS:
                runs[path.parent.resolve()] = _run(path.parent)
            elif path.name == INDEX:
                for entry in _json(path).get("runs", ()):
                    run = Path(entry["folder"])
                    if (run / RESULTS).is_file():
                        runs[run.resolve()] = _run(run)
            elif _is_sheet(path):
                sheets[path.resolve()] = read(path)
    if not runs and not sheets:
        raise UserError(f"There is no finished run in {', '.join(map(str, folders))}: a run has a {RESULTS}.")
    return list(runs.values()), list(sheets.values())


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    elif (folder / RESULTS).is_file():
        yield folder / RESULTS
    else:
        for path in sorted(folder.rglob("*.json")):
            before = any(part.endswith(".previous") for part in path.parts)
            if not before and not path.name.startswith(".") and path.name != "provenance.json":
                yield path


def _is_sheet(path: Path) -> bool:
    try:
        return is_sheet(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return False  # a file of something else


def _run(folder: Path) -> Found:
    provenance, config = folder / "provenance.json", folder / "config.yaml"
    return Found(
        folder,
        _json(folder / RESULTS),
        _json(provenance) if provenance.is_file() else {},
        config.read_text(encoding="utf-8") if config.is_file() else "",
    )


def _json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): delete it or run its command again.") from error
