"""A run's predictions in a file, so that a metric added later needs no network.

``predictions.npz`` holds ``sets``, the sets' names; for each set ``<set>/logits``, float32 (M, N, K), and
``<set>/labels``, int64 (N,), -1 where there is none, or of a regression float32 (N,); and ``about``, JSON: the run's
config, the classes' names, and of shifted sets the classes they cover and their groups of frames. Where several classes
are right for an example, ``<set>/accepted``, bool (N, K), says which; of points ``<set>/inputs``, float32 (N, D), are
the features.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ensembles.errors import UserError
from ensembles.files import open_arrays, parse_json
from ensembles.metrics import Predicted
from ensembles.renamed import by_present_names
from ensembles.untrusted import PredictedSets, Unfit, refusal, require_predictions

# fields of `Predicted` and their names in the file: arrays of a set, and what ``about`` has of several sets
ARRAYS = {"valid_labels": "accepted", "features": "inputs"}
LISTS = {"covered_classes": "classes", "groups": "groups"}
TEXTS = {"about": 2**25, "sets": 2**20}  # bytes that these may have


@contextmanager
def saving(path: Path, about: dict) -> Iterator[Callable[[str, Predicted], None]]:
    """Yield what takes in one named set after the other; the file is there when all are in, and not before.

    Args:
        about: plain data to keep with them.
    """
    draft = path.with_name(f".{path.name}")
    names: list[str] = []
    lists: dict[str, dict] = {key: {} for key in LISTS.values()}
    try:
        # floats hardly shrink, whatever the effort
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:

            def save(name: str, predicted: Predicted) -> None:
                names.append(name)
                _write_array(file, f"{name}/logits", predicted.logits.numpy())
                _write_array(file, f"{name}/labels", predicted.labels.numpy())
                for field, part in ARRAYS.items():
                    if (array := getattr(predicted, field)) is not None:
                        _write_array(file, f"{name}/{part}", array.numpy())
                for field, key in LISTS.items():
                    if (given := getattr(predicted, field)) is not None:
                        lists[key][name] = given

            yield save
            _write_array(file, "sets", np.array(names))
            _write_array(file, "about", np.array(json.dumps(about | lists)))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _write_array(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def about(path: Path) -> dict:
    """Read what was kept with the predictions, its config by present names; `ensembles.untrusted` has checked its form.

    Raises:
        UserError: no such file, a damaged one, or one that carries code.
    """
    with _opened(path) as file:
        found = _about(file)
        if isinstance(found.get("config"), dict):
            found["config"] = by_present_names(found["config"])
        require_predictions(found)
        return found


def saved(path: Path) -> Iterator[tuple[str, Predicted]]:
    """Yield each set's name and predictions, read one after the other.

    Raises:
        UserError: no such file, a damaged one, or one that carries code.
    """
    with _opened(path) as file:
        kept = _about(file)
        names = file["sets"].tolist()
        if not names or not all(type(name) is str for name in names) or len(set(names)) < len(names):
            raise Unfit("sets are no names")
        for name in names:
            logits, labels = (torch.from_numpy(file[f"{name}/{part}"]) for part in ("logits", "labels"))
            if logits.dim() != 3 or logits.dtype != torch.float32 or labels.dtype not in (torch.int64, torch.float32):
                raise Unfit(f"{name} is no set of logits and labels")
            if 0 in logits.shape[0::2]:
                raise Unfit(f"{name} has no members or no classes")
            more = {field: kept[key].get(name) for field, key in LISTS.items()}
            for field, part in ARRAYS.items():
                if f"{name}/{part}" in file:
                    more[field] = torch.from_numpy(file[f"{name}/{part}"])
            predicted = Predicted(logits, labels, **more)
            _require_fitting(predicted, name)
            yield name, predicted


def _about(file: np.lib.npyio.NpzFile) -> dict:
    found = parse_json(file["about"].item())
    PredictedSets.check(found)
    return found


def _require_fitting(predicted: Predicted, name: str) -> None:
    """See that what is known of a set beside its logits and labels is about these examples and classes."""
    _, images, classes = predicted.logits.shape
    valid, features = predicted.valid_labels, predicted.features
    if predicted.labels.is_floating_point() and not predicted.labels.isfinite().all():
        raise Unfit(f"{name}/labels has numbers that are not finite")
    if valid is not None and (valid.dtype != torch.bool or valid.shape != (images, classes)):
        raise Unfit(f"{name}/accepted does not suit its logits")
    if features is not None and (features.dtype != torch.float32 or features.dim() != 2 or len(features) != images):
        raise Unfit(f"{name}/inputs does not suit its logits")
    for one in predicted.covered_classes or ():
        if not _are_among(classes, one if type(one) is list else [one]):
            raise Unfit(f"classes of {name} are none of the network's")
    for group in predicted.groups or ():
        if type(group) is not list or not _are_among(images, group):
            raise Unfit(f"groups of {name} are none of its images")


def _are_among(count: int, indices: list) -> bool:
    return all(type(i) is int and 0 <= i < count for i in indices)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with open_arrays(path, TEXTS) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(
            f"There is no {path}: run ensembles train with evaluation.save_predictions=true first."
        ) from error
    except Exception as error:  # whatever a damaged archive makes its readers raise
        raise refusal(path, error, "have it written again by ensembles train") from error
