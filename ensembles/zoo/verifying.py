"""Evaluating a shared run, a leaderboard's row or a study's row again, and comparing the digits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError
from ensembles.experiment import run_experiment
from ensembles.predictor import load
from ensembles.reports.runs_table import gather
from ensembles.runs import Run, network_file
from ensembles.studies.study import Study
from ensembles.zoo.card import CARD, Card, largest_difference
from ensembles.zoo.sharing import fetched, stamp

TOLERANCE = 1e-4  # of a result; of one above 1 so much of it: processors and libraries round otherwise
CLOCKED = ("cost/images_per_second", "cost/ms_per_image")  # never the same twice


@dataclass(frozen=True)
class Verification:
    """What was said of a run beside what its weights give now.

    Attributes:
        said, found: the results, flat.
        tolerance: by which a result may differ, absolutely where it is below 1, else relatively.
    """

    said: Mapping
    found: Mapping
    tolerance: float

    @property
    def differences(self) -> dict[str, float]:
        """For each result that both have, by how much they differ, in the tolerance's measure."""
        both = [key for key in self.said if key in self.found and key not in CLOCKED]
        return {key: largest_difference(self.said[key], self.found[key]) / _size(self.said[key]) for key in both}

    @property
    def differing(self) -> list[str]:
        return [key for key, difference in self.differences.items() if not difference <= self.tolerance]

    @property
    def left_out(self) -> list[str]:
        """Results that were not evaluated again."""
        return [key for key in self.said if key not in self.found and key not in CLOCKED]

    @property
    def holds(self) -> bool:
        """Whether the test set was evaluated again and no result differs."""
        return any(key.startswith("test/") for key in self.differences) and not self.differing


def verify(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    row: str | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    trust: Sequence[str] = (),
    config_dir: str | None = None,
    stamped: bool = False,
    by: str | None = None,
) -> Verification:
    """Evaluate a run's weights again and compare the results with those that are said of them.

    Args:
        source: a run's folder, a pushed or pulled one, a URL, hf://user/name; a leaderboard's row (its JSON); or a
            study's folder, or a file of many runs.
        overrides: as ensembles train takes them, such as where the data are.
        row, seed: of a study's runs which; of a file of many runs the row is the run's name.
        tolerance: see `Verification`.
        trust: packages besides this one whose networks may be built.
        config_dir: a folder of one's own configs, which such networks need.
        stamped: write into a leaderboard's row that it was verified, where it was.
        by: who did it, for the stamp.

    Raises:
        UserError: weights that are not at hand or cannot be trusted, or data that are not there.
    """
    with _claim(str(source), row, seed) as (weights, said, settings):
        load(weights, trust)  # what a file describes is held against what may be built before anything is composed
        found = _evaluated(weights, [*settings, *overrides], config_dir)
    verification = Verification(said, found, tolerance)
    if stamped:
        path = Path(source)
        if path.suffix != ".json" or row:
            raise UserError(f"{source} is no leaderboard's row, so it cannot be stamped: name its JSON.")
        if verification.holds:
            stamp(path, by, tolerance, max(verification.differences.values()))
    return verification


@contextmanager
def _claim(source: str, row: str | None, seed: int) -> Iterator[tuple[Path, Mapping, list[str]]]:
    """Yield the weights' file, the results claimed of them, and the settings of the evaluation that found these."""
    path = Path(source)
    if row is not None:
        run, said, settings = _of_many(path, row, seed)
        yield network_file(run), said, settings
    elif "://" in source or (path / CARD).is_file():
        with fetched(source) as (folder, card):
            yield network_file(folder), card.results, _settings(gather([folder])[0][0].settings)
    elif path.is_file() and path.suffix == ".json":
        claimed = Card.load(path)
        if claimed.weights is None:
            raise UserError(f"{path} does not say where its weights are, so it cannot be verified: add weights.")
        with fetched(claimed.weights) as (folder, _):
            yield network_file(folder), claimed.results, _settings(gather([folder])[0][0].settings)
    elif path.is_dir():
        runs, _ = gather([path])
        if len(runs) > 1:
            raise UserError(f"{path} holds {len(runs)} runs: name one of them by its folder, or a study's with --row.")
        yield network_file(runs[0].folder), runs[0].results, _settings(runs[0].settings)
    else:
        raise UserError(f"There is no {source}: name a run's folder, a URL, hf://user/name or a leaderboard's row.")


def _of_many(path: Path, row: str, seed: int) -> tuple[Path, Mapping, list[str]]:
    """Find a study's run, or one of a file of many, whose folder is in runs/."""
    runs, _ = gather([path])
    for run in runs:
        if run.name == row and not run.provenance.get("row"):
            return _folder(Path("runs") / row, row), run.results, _settings(run.settings)
        if run.provenance.get("row") == row and run.provenance.get("seed") == seed:
            planned = Study.of(path if path.is_dir() else path.parent).run(row, seed)
            return _folder(planned.folder, row), run.results, _settings(planned.config)
    names = sorted({str(run.provenance.get("row") or run.name) for run in runs})
    raise UserError(f"{path} has no {row} with seed {seed}: there are {', '.join(names)}.")


def _folder(folder: Path, row: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"The weights of {row} are not at hand: its run would be in {folder}.")
    return folder


def _settings(config: Mapping) -> list[str]:
    """Write a config's evaluation as overrides; the sets come with its data."""
    evaluation = config.get("evaluation")
    given = evaluation.items() if isinstance(evaluation, dict) else ()
    plain = {key: value for key, value in given if key != "save_predictions" and isinstance(value, bool | int | float)}
    return [f"evaluation.{key}={str(value).lower()}" for key, value in plain.items()]


def _evaluated(weights: Path, overrides: Sequence[str], config_dir: str | None) -> dict:
    with TemporaryDirectory() as place:
        words = [*overrides, "train=false", f"ckpt_path='{weights}'", f"runs_dir='{place}'", "runtime.progress=false"]
        check(words, config_dir)
        found = combinations(words, config_dir)
        if len(found) > 1:
            raise UserError("The command line has several configurations: a run is verified in one.")
        ((_, config),) = found
        run = Run.of(checked(config), config.hydra.runtime.choices)
        run_experiment(run, brief=True)
        return run.results()


def _size(value: object) -> float:
    """Find what a difference is divided by: the result's size, but 1 at least."""
    numbers = value if isinstance(value, list) else [value]
    return max([1.0, *(abs(one) for one in numbers if isinstance(one, int | float))])
