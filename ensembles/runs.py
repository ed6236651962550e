"""A run's folder: where it is, what it holds, whether it is finished. Torch is not imported here.

The folder follows from what a run computes, not from the clock, the devices or the paths: the same command finds its
own run again.
"""

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ensembles import evaluations
from ensembles.data.files.fingerprint import Column, contents_hash, image_hashes, images_unchanged
from ensembles.errors import UserError
from ensembles.files import held, holder, load_json, load_text, load_yaml, write_text
from ensembles.recipes import describe_recipe
from ensembles.renamed import FORMER, by_former_names, by_present_names

# What a run computes does not depend on these; all by the names that settings had first (`ensembles.renamed`).
ELSEWHERE = {
    "data": {
        *("root", "cache_dir", "num_workers", "eval_batch_size"),
        *("download", "sets_root", "corrupted_root", "skip_broken", "in_memory"),
    },
    "trainer": {"accelerator", "devices", "num_nodes", "progress", "save_minutes", "compile", "channels_last"},
}
# Settings that came later: at these values a run is where it was before they were there.
LATER = {
    "trainer": {"keep_every": None, "deterministic": False},
    "method": {
        **{"initialisation": "own", "batches": "common"},
        **{"decay_fast": False, "site": "convolutions", "penalty": "all", "norm_l2": 0},
    },
    "model": {"init": None, "redraw": "bootstrap", "preactivation": True},
}
LATER_EVALUATION = {"energy": False, "risk": None, "conformal": None}  # likewise of an evaluation
# These change how a trained network is evaluated, not what is trained.
EVALUATION = ("checkpoint", "evaluation")
# of data's settings
TEST_SETS = {*evaluations.LISTED, *evaluations.NAMED, *evaluations.CORRUPTED, "extrapolation"}
TABLES = ("train", "val", "test")  # of data's settings, CSVs, of which the content counts and not the place
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
WHOLE = ("method", "model", "recipe", "seed", "train", "ckpt", "content")


def identity(config: dict) -> dict:
    """Give the part of a composed config that decides what is trained, by former names."""
    config = by_former_names(config)
    parts = {key: config.get(key) for key in WHOLE}
    for group, left_out in ELSEWHERE.items():
        parts[group] = {key: value for key, value in config[group].items() if key not in left_out | TEST_SETS}
    for group, before in LATER.items():
        parts[group] = {key: value for key, value in parts[group].items() if key not in before or value != before[key]}
    if config.get("content"):
        parts["data"] = {key: value for key, value in parts["data"].items() if key not in TABLES}
    if not _redraws(config):
        parts["model"].pop("redraw", None)
    if (patience := config.get("runtime", {}).get("patience")) is not None:
        parts["patience"] = patience
    for place in _checkpoint_files(config):
        parts.setdefault("files", {})[str(place)] = file_digest(place)
    return parts


def _redraws(config: dict) -> bool:
    """Tell whether layers can be of another size than the backbone's, so that ``model.redraw`` changes the numbers."""
    method, M = config["method"], config["method"].get("M", 1)
    package, _, name = method["_target_"].rpartition(".")
    if config["model"].get("width", 1) != 1 or package != "ensembles.methods":
        return True
    return (name == "Packed" and (method["alpha"], method["gamma"]) != (M, 1)) or (
        name in ("MIMO", "NaiveMultihead") and M > 1
    )


def decides(key: str) -> bool:
    """Tell whether a setting or group, such as recipe.epochs, can change what a run trains or evaluates."""
    group, _, name = FORMER.get(key, key).partition(".")
    if key == "runtime.patience":
        return True
    return group in {*WHOLE, *ELSEWHERE, *EVALUATION, "experiment"} and name not in ELSEWHERE.get(group, ())


def without_target_scale(likelihood: dict) -> dict:
    """Copy a likelihood's settings without target_mean and target_sd, which the data set knows and no config has."""
    return {key: value for key, value in likelihood.items() if not key.startswith("target_")}


def _checkpoint_files(config: dict) -> list[Path]:
    paths = [config["ckpt"]] if config["ckpt"] else []
    if isinstance(config["model"].get("pretrained"), str):
        paths.append(config["model"]["pretrained"])
    return [Path(path) for path in (*paths, *(config["method"].get("checkpoints") or ()))]


def file_digest(path: Path) -> str:
    """Hash the file's contents."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    except OSError as error:
        raise UserError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error


def _file(name: str) -> property:
    return property(lambda self: self.folder / name)


@dataclass(frozen=True)
class Run:
    """One configuration's folder.

    Attributes:
        config: the composed config as plain containers.
        folder: where everything about the run is.
        recipe: its recipe's name and whose it is, in words; None where nothing is trained or that is not known.
    """

    config: dict
    folder: Path
    recipe: str | None = field(default=None, compare=False)

    last = _file("last.ckpt")
    previous = _file("previous.ckpt")  # the checkpoint before the last
    best = _file("best.ckpt")
    epochs = _file("epochs")  # a folder: what ``runtime.keep_every`` keeps, ``<epochs done>.ckpt``
    history = _file("metrics.csv")
    results_file = _file(evaluations.RESULTS)
    provenance_file = _file(evaluations.PROVENANCE)
    predictions_file = _file(evaluations.PREDICTIONS)
    error_log = _file("error.log")
    images_file = _file("images.json")  # what was kept of the training images when the training began
    begun_anew = _file("begun_anew")  # is there from when an earlier run was set aside until the new one has results

    @classmethod
    def of(cls, config: dict, choices: dict) -> "Run":
        """Make the run of a composed config.

        Args:
            choices: the options chosen for the groups; those of data, model and method name the folder.
        """
        text = json.dumps(identity(config), sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        chosen = [str(choices[group]) for group in ("data", "model", "method")]
        recipe = describe_recipe(choices["recipe"], *chosen) if config.get("train") and "recipe" in choices else None
        return cls(config, Path(config["runs_dir"]) / "-".join([*chosen, digest]), recipe)

    @property
    def evaluation(self) -> dict:
        """Give the part of the config that decides how the trained network is evaluated, by former names."""
        config = by_former_names(self.config)
        data = {key: value for key, value in config["data"].items() if key in TEST_SETS}
        for key in evaluations.NAMED:
            if isinstance(data.get(key), dict):
                data[key] = {
                    n: [place, contents_hash(place) if isinstance(place, str) else None]
                    for n, place in data[key].items()
                }
        found = {**{key: config[key] for key in EVALUATION}, "data": data}
        found["evaluation"] = {
            key: value
            for key, value in found["evaluation"].items()
            if key not in LATER_EVALUATION or value != LATER_EVALUATION[key]
        }
        if config.get("trainer", {}).get("precision", 32) != 32:
            found["precision"] = 32  # once it was the training's
        return found

    @property
    def results_folder(self) -> Path | None:
        """Find the folder, this or one below, that holds the results of this config; None while there are none."""
        return evaluations.find(self.folder, self.evaluation, self.test_images)

    def results(self) -> dict | None:
        """Read the results of this config; None while there are none."""
        place = self.results_folder
        return None if place is None else load_json(place / evaluations.RESULTS)

    @property
    def test_images(self) -> dict[str, Path | Column]:
        """List folders, or columns of CSVs, of images to evaluate on that could change unnoticed: the user's own."""
        data = self.config["data"]
        # what is no mapping is refused later
        own = {key: data[key] for key in evaluations.NAMED if isinstance(data.get(key), dict)}
        named = {f"{key}/{name}": place for key, sets in own.items() for name, place in sets.items()}
        found = {name: Path(place).expanduser() for name, place in named.items() if isinstance(place, str)}
        return found | self._parts("test")

    @property
    def training_images(self) -> dict[str, Path | Column]:
        """List those of images to train on, likewise."""
        return self._parts("train", "val") if self.config.get("train") else {}

    def _parts(self, *names: str) -> dict[str, Path | Column]:
        """List the parts of an image folder that are there, or of CSVs; nothing for other data."""
        data = self.config["data"]
        if not self.config.get("content"):
            return {}
        if data.get("train"):
            tables = {name: data[name] for name in names if data.get(name)}
            return {name: Column(Path(table).expanduser(), data["path_column"]) for name, table in tables.items()}
        root = Path(data["root"]).expanduser()
        return {name: root / name for name in names if (root / name).is_dir()}

    def require_same_images(self) -> None:
        """Check that the training images are those that the run has been trained on so far.

        Raises:
            UserError: some are others now.
        """
        if not images_unchanged(self._images_before(), self.training_images):
            key = "train" if self.config["data"].get("train") else "root"
            raise UserError(
                f"The training images in data.{key}={self.config['data'][key]} have changed since {self.folder} was "
                "begun, though their names and sizes are the same: train anew with force=true."
            )

    def _images_before(self) -> dict | None:
        try:
            return load_json(self.images_file)
        except (OSError, ValueError):
            return None

    def set_aside(self) -> None:
        """Move an earlier run out of the way; it stays beside the new one as ``<folder>.previous``.

        A run that was begun so and has no results yet is gone on with. One without results takes no finished one's
        place: it then becomes ``<folder>.unfinished``.

        Raises:
            Busy: another process works on it now.
            UserError: the folder cannot be written.
        """
        previous = self.folder.with_name(self.folder.name + ".previous")
        try:
            if self.folder.exists():
                with held(self.folder):
                    if self._goes_on_anew():
                        return
                    if not self.results_file.exists() and (previous / evaluations.RESULTS).exists():
                        previous = self.folder.with_name(self.folder.name + ".unfinished")
                    shutil.rmtree(previous, ignore_errors=True)
                    self.folder.rename(previous)
                    self.folder.mkdir()
                    self.begun_anew.touch()
        except OSError as error:
            raise self._unwritable(error) from error

    def _goes_on_anew(self) -> bool:
        """Tell whether what is in the folder was begun when an earlier run was set aside, or is nothing yet."""
        if self.results_file.exists() or not images_unchanged(self._images_before(), self.training_images):
            return False
        if not (self.last.exists() or self.previous.exists()):
            self.begun_anew.touch()
        return self.begun_anew.exists()

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"The run folder {self.folder} cannot be written ({error.strerror}): set runs_dir.")

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, write the config into it and hold it against other processes.

        Raises:
            Busy: another process works on it now.
            UserError: the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(self.folder))
                self.error_log.unlink(missing_ok=True)
                for place in (self.folder, self.epochs):
                    for draft in place.glob(".[0-9]*.*"):  # of a process that was killed while it wrote
                        draft.unlink()
                evaluations.keep(self.folder)
            except OSError as error:
                raise self._unwritable(error) from error
            if self.training_images and not (self.last.exists() or self.previous.exists()):
                write_text(self.images_file, json.dumps(image_hashes(self.training_images), indent=2) + "\n")
            write_text(self.folder / "config.yaml", yaml.safe_dump(self.config, sort_keys=False))
            try:
                yield
            except OSError as error:
                if error.errno not in UNWRITABLE:
                    raise
                raise UserError(
                    f"{error.filename or self.folder} cannot be written ({error.strerror}): free space or set runs_dir,"
                    " and the same command goes on from the last checkpoint."
                ) from error


WEIGHTS = "model.safetensors"  # of a folder that was pushed or pulled


def network_file(path: str | Path) -> Path:
    """Find the file of a trained network: of a run's or a pulled folder, that of the network that was tested.

    Raises:
        UserError: a folder that holds none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    run = Run({}, path)
    try:
        test_on = by_present_names(load_yaml(path / "config.yaml")).get("test_on")
    except (OSError, ValueError, TypeError):
        test_on = "best"
    order = (path / WEIGHTS, run.best, run.last) if test_on == "best" else (path / WEIGHTS, run.last)
    found = next((file for file in order if file.is_file()), None)
    if found is None:
        raise UserError(f"{path} holds no trained network: name a run's folder, a pulled one or a checkpoint.")
    return found


def state(run: Run) -> str:
    """Say whether a run is done, running, failed, unfinished or missing; more about it follows after a colon.

    Running names the process, failed the error's last line and the log, unfinished the epochs done.
    """
    if run.results() is not None:
        return "done"
    if owner := holder(run.folder):
        return f"running: {owner}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        last = load_text(run.error_log).strip().splitlines()[-1]
        last = "".join(c if c.isprintable() else " " for c in last)  # nothing that a terminal would obey
        return f"failed: {last.removeprefix(f'{UserError.__module__}.UserError: ')} [{run.error_log}]"
    if run.folder.is_dir():
        done = 0
        with contextlib.suppress(OSError, ValueError):  # none was logged yet, or the file is damaged
            done = max(0, len(load_text(run.history).splitlines()) - 1)
        return f"unfinished: {done} of {run.config['recipe']['epochs']} epochs"
    return "missing"
