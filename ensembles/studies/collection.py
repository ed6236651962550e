"""A study's runs: those that are missing are run, and finished ones kept in files that last.

The files are runs.json and, for each run, what it says of each test image. Torch is imported to collect these alone.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from hydra.core.override_parser.types import Quote, QuotedString
from pydantic import TypeAdapter

from ensembles.errors import UserError, reason
from ensembles.files import load_json, write_text
from ensembles.renamed import RENAMED
from ensembles.reports.collected import RUNS, CollectedRun, collected_runs
from ensembles.reports.per_image import images_file, load_per_image, save_per_image
from ensembles.reports.runs_table import flattened
from ensembles.reproduction.running import train, without_hydras
from ensembles.runs import Run, network_file
from ensembles.studies.bootstrap import own_members
from ensembles.studies.study import Study, settings

TIMES_FILE = "times.json"
SEARCH_FILE = "search.json"
KEPT = ("commit", "command", "hardware", "seconds")  # of provenance.json


def read_times(folder: Path) -> dict[str, dict[str, float]]:
    """Read the times of a study's rows, in the reference row's: row -> what was timed -> ratio.

    Raises:
        UserError: a damaged file.
    """
    path = folder / TIMES_FILE
    if not path.exists():
        return {}
    try:
        rows = load_json(path)["rows"]
        return {row: {work: float(ratio) for work, ratio in of.items()} for row, of in rows.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): time the rows again.") from error


def read_search(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Read what validation said of a study's rows: row -> learning rate -> acc, nll.

    Raises:
        UserError: a damaged file.
    """
    path = folder / SEARCH_FILE
    try:
        found = load_json(path) if path.exists() else {}
        return TypeAdapter(dict[str, dict[str, dict[str, float]]]).validate_python(found)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): delete it and search again.") from error


@dataclass(frozen=True)
class Collection:
    """The runs that a study's folder holds: those made here, and those that were collected before.

    Attributes:
        runs: by row and seed.
        times: row -> its times of a training step (train) and of a prediction (predict), in the reference row's.
    """

    folder: Path
    runs: dict[str, dict[int, CollectedRun]]
    times: dict[str, dict[str, float]]

    @classmethod
    def of(cls, folder: Path, study: Study, current: Mapping[str, Mapping]) -> "Collection":
        """Read runs.json.

        Args:
            current: row -> its settings now.

        Raises:
            UserError: a damaged file, or one with runs of other settings than their rows have now: one table is of one
                setting.
        """
        path = folder / RUNS
        collected = collected_runs(folder)
        for row, runs in collected.items():
            if row not in current:
                raise UserError(
                    f"{path} holds runs of {row}, which is no row of study.yaml: delete them, or add it there."
                )
            before = next(reversed(runs.values())).settings
            if changed := _changed(before, current[row]):
                raise UserError(
                    f"{path} holds runs of {row} with other settings ({changed}): use another folder with a copy of "
                    "study.yaml, or delete them."
                )
        return cls(folder, collected, read_times(folder))

    def has(self, row: str, seed: int) -> bool:
        return seed in self.runs.get(row, {})

    def seeds(self, row: str) -> list[int]:
        return sorted(self.runs.get(row, {}))

    def settings(self, row: str) -> dict:
        """Find the settings that all its runs have."""
        return self.runs[row][self.seeds(row)[0]].settings

    def results(self, row: str) -> list[dict]:
        """Find the results of each seed."""
        return [self.runs[row][seed].results for seed in self.seeds(row)]

    def add(self, row: str, run: Run, members: Sequence[Run] = ()) -> None:
        """Take in a run that has results and saved predictions.

        Args:
            members: the runs that trained its members, whose time counts.

        Raises:
            UserError: predictions that are missing or damaged.
        """
        place, seed = run.results_folder, run.config["seed"]
        about = _provenance(run)
        about["seconds"]["train"] += sum(_provenance(member)["seconds"]["train"] for member in members)
        self.runs.setdefault(row, {})[seed] = CollectedRun(
            method=run.config["method"]["_target_"].rpartition(".")[2],
            row=row,
            seed=seed,
            settings=settings(run.config),
            **{key: about[key] for key in KEPT},
            results=run.results(),
        )
        path = images_file(self.folder, row, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        _save_of_images(place / "predictions.npz", path)

    def write(self, study: Study) -> None:
        """Write runs.json, a line a run, in the table's order."""
        found = (self.runs[row][seed] for row in study.rows for seed in self.seeds(row))
        lines = ",\n".join(json.dumps(run.model_dump()) for run in found)
        write_text(self.folder / RUNS, f"[\n{lines}\n]\n")

    def images(self, row: str, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Read what S seeds' runs say of N test images: correct, log_likelihood, confidence; (S, N), float64.

        Raises:
            UserError: a file that is missing or damaged.
        """
        parts = [self.per_image(row, seed) for seed in seeds]
        return {key: np.stack([part[key] for part in parts]) for key in parts[0]}

    def compared(self, study: Study, row: str, other: str) -> list[dict[str, np.ndarray]]:
        """Read what both rows' runs say of each image, seed by seed over the seeds that both have; (S, N).

        Beside an ensemble of networks that were trained alone stands, for each of its seeds, its own members' mean.
        """
        sides = [self._beside(row, other, study), self._beside(other, row, study)]
        common = sorted(set(sides[0]) & set(sides[1]))
        if not common:
            return []
        return [{key: np.stack([of[s][key] for s in common]) for key in of[common[0]]} for of in sides]

    def _beside(self, row: str, other: str, study: Study) -> dict[int, dict[str, np.ndarray]]:
        """Read what a row's runs say, by seed; where the other row's networks are this one's, by the other's seed."""
        if study.rows[other].members != row:
            return {seed: self.per_image(row, seed) for seed in self.seeds(row)}
        found = {}
        for seed in self.seeds(other):
            M = len(self.runs[other][seed].results["members/acc"])
            if own := own_members(self.seeds(row), M).get(seed):
                found[seed] = {key: each.mean(0) for key, each in self.images(row, own).items()}
        return found

    def per_image(self, row: str, seed: int) -> dict[str, np.ndarray]:
        """Read what one run says of N test images, (N,)."""
        return load_per_image(images_file(self.folder, row, seed))


def _changed(before: Mapping, now: Mapping) -> str:
    """Name the first setting that differs, before and now; one that came later is null where it was not set."""
    before, now = flattened(before), flattened(now)
    changed = (key for key in {**before, **now} if before.get(key) != now.get(key))
    return next((f"{RENAMED.get(key, key)}: {before.get(key)}, now {now.get(key)}" for key in changed), "")


def _provenance(run: Run) -> dict:
    return load_json(run.results_folder / "provenance.json")


def _save_of_images(predictions_file: Path, path: Path) -> None:
    from ensembles import predictions  # with torch, which takes seconds
    from ensembles.metrics.base import log_mean
    from ensembles.metrics.classification import statistics

    predicted = next(found for name, found in predictions.saved(predictions_file) if name == "test")
    of = statistics(log_mean(predicted.logits), predicted.labels)
    save_per_image(path, of.correct, of.log_likelihood, of.confidence)


def collect(
    folder: Path, study: Study, rows: Sequence[str], seeds: Iterable[int], overrides: Sequence[str], runs: bool
) -> Collection:
    """Collect the rows' runs, seed by seed, in runs.json.

    Args:
        runs: whether to train what is missing.
    """
    composing = without_hydras(overrides)
    current = {row: settings(study.run(row, 0, composing).config) for row in study.rows}
    collection = Collection.of(folder, study, current)
    for seed in seeds:
        missing = [row for row in rows if not collection.has(row, seed)]
        if runs:
            _train(study, missing, seed, overrides)
        for row in missing:
            members = study.members(row, seed, composing)
            if any(member.results() is None for member in members):
                continue
            run = study.run(row, seed, [*_checkpoints(members), *composing])
            if run.results() is not None:
                collection.add(row, run, members)
    if collection.runs:
        collection.write(study)
    return collection


def _train(study: Study, rows: Sequence[str], seed: int, overrides: Sequence[str]) -> None:
    """Run what is unfinished of the rows; where members are trained alone, these first."""
    composing = without_hydras(overrides)
    unfinished = [
        row for row in rows if not study.rows[row].members and study.run(row, seed, composing).results() is None
    ]
    for words in study.commands(unfinished):
        train(["-m", *words, f"seed={seed}", *overrides])
    for row in rows:
        members = study.members(row, seed, composing)
        for run in members:
            _train(study, [study.rows[row].members], run.config["seed"], overrides)
        words = _checkpoints(members)
        if members and study.run(row, seed, [*words, *composing]).results() is None:
            train(["-m", *study.overrides(row), *words, f"seed={seed}", *overrides])


def _checkpoints(members: Sequence[Run]) -> list[str]:
    """Write the override that makes an ensemble of networks that were trained alone."""
    files = ",".join(QuotedString(str(network_file(run.folder)), Quote.double).with_quotes() for run in members)
    return [f"method.checkpoints=[{files}]"] if members else []


def search(folder: Path, study: Study, rows: Sequence[str], overrides: Sequence[str], runs: bool) -> None:
    """Train each row with each learning rate for a part of the epochs, and write what validation says of it.

    A row whose members are another's networks has that row's rate.

    Raises:
        UserError: a plan without a search.
    """
    if study.search is None:
        raise UserError(f"{folder / 'study.yaml'} has no search: name there the learning rates to search among.")
    words = [*(f"{key}={value}" for key, value in study.search.settings.items()), *overrides]
    found = read_search(folder)
    rows = [row for row in rows if not study.rows[row].members]
    for row in rows:
        rates = [rate for rate in study.search.rates if str(rate) not in found.get(row, {})]
        if rates and runs:
            train(["-m", *study.overrides(row), f"recipe.optimizer.lr={','.join(map(str, rates))}", *words])
        for rate in rates:
            run = study.run(row, 0, [f"recipe.optimizer.lr={rate}", *without_hydras(words)])
            if run.results() is not None:
                last = pd.read_csv(run.history).iloc[-1]
                found.setdefault(row, {})[str(rate)] = {key: float(last[f"val/{key}"]) for key in ("acc", "nll")}
        write_text(folder / SEARCH_FILE, json.dumps(found, indent=1) + "\n")
    print(pd.DataFrame({row: {rate: of["acc"] for rate, of in found.get(row, {}).items()} for row in rows}).T)
