"""A study's finished runs in files that last: runs.json, and for each run what it says of each test image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensembles.errors import UserError, reason
from ensembles.files import write_text
from ensembles.renamed import RENAMED
from ensembles.reports.collected import RUNS, CollectedRun, collected_runs
from ensembles.reports.per_image import images_file, load_per_image, save_per_image
from ensembles.reports.runs_table import flattened
from ensembles.runs import Run
from ensembles.studies.study import Study, settings

TIMES_FILE = "times.json"
KEPT = ("commit", "command", "hardware", "seconds")  # of provenance.json


@dataclass(frozen=True)
class Collection:
    """The runs that a study's folder holds: those made here, and those that were collected before.

    Attributes:
        entries: by (row, seed).
        times: row -> its times of a training step (train) and of a prediction (predict), in the reference row's.
    """

    folder: Path
    entries: dict[tuple[str, int], CollectedRun]
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
        entries = {(row, seed): run for row, runs in collected_runs(folder).items() for seed, run in runs.items()}
        timed = folder / TIMES_FILE
        try:
            times = json.loads(timed.read_text(encoding="utf-8"))["rows"] if timed.exists() else {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{timed} cannot be read ({reason(error)}): time the rows again.") from error
        collected = {row: run.settings for (row, _), run in entries.items()}
        for row, before in collected.items():
            if row not in current:
                raise UserError(
                    f"{path} holds runs of {row}, which is no row of study.yaml: delete them, or add it there."
                )
            if before != current[row]:
                raise UserError(
                    f"{path} holds runs of {row} with other settings ({_changed(before, current[row])}): use another "
                    "folder with a copy of study.yaml, or delete them."
                )
        return cls(folder, entries, times)

    def has(self, row: str, seed: int) -> bool:
        return (row, seed) in self.entries

    def seeds(self, row: str) -> list[int]:
        return sorted(seed for name, seed in self.entries if name == row)

    def results(self, row: str) -> list[dict]:
        """One for each seed."""
        return [self.entries[row, seed].results for seed in self.seeds(row)]

    def add(self, row: str, run: Run) -> None:
        """Take in a run that has results and saved predictions.

        Raises:
            UserError: predictions that are missing or damaged.
        """
        place, seed = run.results_folder, run.config["seed"]
        about = json.loads((place / "provenance.json").read_text())
        self.entries[row, seed] = CollectedRun(
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
        order = list(study.rows)
        keys = sorted(self.entries, key=lambda key: (order.index(key[0]), key[1]))
        lines = ",\n".join(json.dumps(self.entries[key].model_dump()) for key in keys)
        write_text(self.folder / RUNS, f"[\n{lines}\n]\n")

    def images(self, row: str, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """What the row's runs of S seeds say of N test images: correct, log_likelihood, confidence; (S, N), float64.

        Raises:
            UserError: a file that is missing or damaged.
        """
        parts = [self.per_image(row, seed) for seed in seeds]
        return {key: np.stack([part[key] for part in parts]) for key in parts[0]}

    def per_image(self, row: str, seed: int) -> dict[str, np.ndarray]:
        """What one run says of N test images, (N,)."""
        return load_per_image(images_file(self.folder, row, seed))


def _changed(before: Mapping, now: Mapping) -> str:
    """Name the first setting that differs, its value before and now."""
    flat = [flattened(settings) for settings in (before, now)]
    key = next(key for key in {**flat[0], **flat[1]} if flat[0].get(key) != flat[1].get(key))
    return f"{RENAMED.get(key, key)}: {flat[0].get(key)}, now {flat[1].get(key)}"


def _save_of_images(predictions_file: Path, path: Path) -> None:
    from ensembles import predictions  # with torch, which takes seconds
    from ensembles.metrics.base import log_mean
    from ensembles.metrics.classification import statistics

    predicted = next(found for name, found in predictions.saved(predictions_file) if name == "test")
    of = statistics(log_mean(predicted.logits), predicted.labels)
    save_per_image(path, of.correct, of.log_likelihood, of.confidence)
