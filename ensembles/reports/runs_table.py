"""Finished runs as one table, and the papers' tables and figures beside them. Imports no torch."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

from ensembles.errors import UserError, reason
from ensembles.files import load_json, load_text, parse_yaml
from ensembles.renamed import by_present_names
from ensembles.reports.paper_result import FigureResult, PaperResult
from ensembles.reports.schema import finite
from ensembles.reports.table_result import TableResult

RESULTS, INDEX = "results.json", "index.json"
SHOWN_OTHERWISE = ("seed", "method._target_", "model._target_", "data._target_", "method", "model", "data.root")
MOST = 6  # settings that tell runs apart
FIRST = ("method.", "model", "recipe.")  # those that are kept when there are more
RUNNING = re.compile(  # settings of how and where a run runs, and of what else it is evaluated on
    r"(runtime(?!\.patience$)|logger|strategy|cluster)\b|(runs_dir|sweeps_dir|force)$|trainer\.(accelerator|devices|num_nodes)$|"
    r"data\.(num_workers|eval_batch_size|download|sets_root|cache_dir|skip_broken|in_memory|corrupted\.root)$|"
    r"data\.(ood_sets|shift_sets)$|"
    r"evaluation\.(save_predictions|temperature_scaling)$"
)
LISTED = re.compile(r"[\w.+]+=[^\s\[{]*,")  # an override with several values


@dataclass(frozen=True)
class FinishedRun:
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
        first = {"reliability": 1, "curves": 2}
        return sorted(
            filter(Path.is_file, self.folder.glob("*.png")), key=lambda path: (-first.get(path.stem, 0), path.name)
        )

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Its results that are finite numbers, of lists of such the mean."""
        return {key: number for key, value in self.results.items() if (number := finite(value)) is not None}

    @cached_property
    def settings(self) -> Mapping:
        """Its config, by present names; nothing where it has none."""
        try:
            found = parse_yaml(self.config)
        except ValueError:
            return {}
        return by_present_names(found) if isinstance(found, dict) else {}

    @cached_property
    def computed(self) -> dict[str, object]:
        """The dotted settings of what it computes."""
        return {key: value for key, value in flattened(self.settings).items() if not RUNNING.match(key)}

    @property
    def stem(self) -> str:
        """Its name without the digits that tell its settings."""
        return re.sub(r"-[0-9a-f]{8}$", "", self.name)

    @property
    def method(self) -> str:
        return str(self.provenance.get("row") or "") or self.stem.rpartition("-")[2]  # a study's row

    @property
    def model(self) -> str:
        """The network's name; nothing where that is not known."""
        found = self.settings.get("model")
        described = found if isinstance(found, dict) else {}
        if isinstance(described.get("name"), str):  # one of timm's or torchvision's
            return described["name"]
        if "row" not in self.provenance:
            return self.stem.partition("-")[2].rpartition("-")[0]
        return str(described.get("_target_", "")).rpartition(".")[2]

    @property
    def but_for_seed(self) -> str:
        """Equal for runs that differ in their seed alone; by the command where there is no config."""
        # a setting that came later is null where it was not set
        known = {key: value for key, value in self.computed.items() if key != "seed" and value is not None}
        if known:
            return repr((self.model, self.method, sorted(known.items())))
        words = [word for word in str(self.provenance.get("command", "")).split() if "=" in word]
        words = sorted(
            word for word in words if not word.startswith(("seed=", "trainer.progress=", "runtime.progress="))
        )
        if not words or any(LISTED.match(word) and not word.startswith("method=") for word in words):
            return self.name  # which of the values is this run's is not known
        return f"{self.stem} {' '.join(word for word in words if not word.startswith('method='))}"

    @property
    def data(self) -> str:
        """The data set, with its folder and the number of training images where they are known."""
        return self._data("root", "train_size")

    @property
    def data_anywhere(self) -> str:
        """The data set as it is called on any machine, without its folder."""
        return self._data("train_size")

    def _data(self, *told: str) -> str:
        known, command = self.settings.get("data"), str(self.provenance.get("command", ""))
        given = dict(re.findall(r"\bdata\.(root|train_size)=(<[^>]*>|\S+)", command))
        name = self.name.partition("-")[0]
        if "row" in self.provenance and (chosen := re.search(r"(?<!\S)data=(\S+)", command)):
            # a study's runs have the study's name, and a folder of images is called as its folder
            name = Path(given.get("root", "").strip("<>")).name if chosen[1] == "image_folder" else chosen[1]
            name = name or chosen[1]
        if isinstance(known, dict):
            given |= {key: known[key] for key in told if key in known}
        said = ", ".join(f"{key}={given[key]}" for key in told if given.get(key) is not None)
        return f"{name} ({said})" if said else name


def results(*folders: str | Path) -> pd.DataFrame:
    """Read finished runs into a table, a row a run.

    Args:
        folders: of runs, of sweeps, or any that holds such.

    Returns:
        Columns ``run``, ``data``, ``model``, ``method``, ``seed`` and ``folder``, settings such as ``method.M`` and
        results such as ``test/acc``; what a run lacks is NA.

    Raises:
        UserError: a path that is not there, a damaged file, or folders that hold nothing finished.
    """
    return runs_table(gather(map(Path, folders))[0])


def runs_table(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """Put runs into a table, as `results` has it."""
    rows = []
    for run in runs:
        known = {"run": run.name, "data": run.data, "model": run.model, "method": run.method}
        known["seed"] = run.provenance.get("seed")
        settings = {key: value for key, value in flattened(run.settings).items() if key not in known}
        rows.append({**known, **settings, **run.results, **known, "folder": str(run.folder)})
    return pd.DataFrame(rows).convert_dtypes()


def differing(runs: Sequence[FinishedRun]) -> list[str]:
    """Find the dotted settings, besides seed, method and model, in which runs with a config differ; at most `MOST`."""
    settings = pd.DataFrame([run.computed for run in runs if run.computed], dtype=object)
    varied = settings.where(settings.notna(), None).map(repr).nunique() > 1
    apart = [key for key in settings.columns if varied[key] and key not in SHOWN_OTHERWISE]
    if len(apart) > MOST:
        apart = [key for prefix in FIRST for key in apart if key.startswith(prefix)]
    return apart[:MOST]


def flattened(mapping: Mapping, prefix: str = "") -> dict[str, object]:
    """Join the keys of nested settings by dots."""
    found = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def gather(folders: Iterable[Path]) -> tuple[list[FinishedRun], list[PaperResult]]:
    """Find the runs, tables and figures of folders, of any that hold such, or of a table's JSON; each once.

    Raises:
        UserError: a path that is not there, a damaged file, or folders that hold nothing finished.
    """
    runs: dict[Path, FinishedRun] = {}
    papers: dict[Path, PaperResult] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.exists():
            raise UserError(f"There is no {folder}: name folders of runs, of sweeps or of tables.")
        for path in _files(folder):
            value = _json(path) if path.name == RESULTS else _value(path)
            for kind in (TableResult, FigureResult):
                if kind.is_in(value):
                    papers[path.resolve()] = kind.load(path)
                    break
            for run in _runs(path, value):
                place = run.folder.resolve()
                known = runs.get(place)
                runs[place] = replace(known, results={**known.results, **run.results}) if known else run
    if not (runs or papers):
        raise UserError(f"There is no finished run in {', '.join(map(str, folders))}: a run has a {RESULTS}.")
    return list(runs.values()), sorted(papers.values(), key=lambda paper: isinstance(paper, FigureResult))


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    elif _is_run(folder):
        yield folder / RESULTS
    else:
        for path in filter(Path.is_file, sorted(folder.rglob("*.json"))):
            below = path.relative_to(folder).parts
            before = any(part.endswith(".previous") or part == "evaluations" for part in below)
            if not before and not path.name.startswith(".") and path.name != "provenance.json":
                yield path


def _is_run(folder: Path) -> bool:
    return (folder / RESULTS).is_file() and (folder / "provenance.json").is_file()


def _runs(path: Path, value: object) -> Iterator[FinishedRun]:
    """Read the run that a JSON file is of, or those it tells of: as a sweep's index or a collection of results."""
    if path.name == RESULTS and _is_run(path.parent):
        yield _run(path.parent)
    elif path.name == INDEX:
        listed = value.get("runs") if isinstance(value, dict) else None
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("folder"), str):
                folder = Path(value.get("started_in", "")) / entry["folder"]  # as the sweep named it where it started
                if (folder / RESULTS).is_file():
                    yield _run(folder)
    else:
        yield from _collected(path, value)


def _collected(path: Path, value: object) -> Iterator[FinishedRun]:
    """Read the runs of a file of many: a list of entries that name their ``run``, or a mapping from names to them."""
    listed = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
    entries = value.items() if isinstance(value, dict) else [(_called(e), e) for e in value] if listed else []
    for name, entry in entries:
        if isinstance(name, str) and isinstance(entry, dict) and isinstance(entry.get("results"), dict):
            given = {key: item for key, item in entry.items() if key != "results"}
            called = name if listed and "run" in entry else f"{path.parent.name}-{name}"
            config = yaml.safe_dump(given["settings"]) if isinstance(given.get("settings"), dict) else ""
            yield FinishedRun(path.parent / called, entry["results"], given, config)


def _called(entry: Mapping) -> object:
    """Name the run; a study's run by its row, with its seed."""
    return entry.get("run") or (f"{entry['row']}-{entry.get('seed')}" if "row" in entry else None)


def _value(path: Path) -> object:
    try:
        return load_json(path)
    except ValueError:
        return None  # a file of something else
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): see to its permissions, or move it away.") from error


def _run(folder: Path) -> FinishedRun:
    provenance, config = folder / "provenance.json", folder / "config.yaml"
    return FinishedRun(
        folder,
        _json(folder / RESULTS, dict),
        _json(provenance, dict) if provenance.is_file() else {},
        load_text(config) if config.is_file() else "",
    )


def _json(path: Path, kind: type = object):
    try:
        found = load_json(path)
        if not isinstance(found, kind):
            raise ValueError("it holds no values by names")
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): delete it or run its command again.") from error
