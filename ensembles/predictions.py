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
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ensembles.errors import UserError, reason
from ensembles.metrics import Predicted

OPTIONAL = ("accepted", "inputs")
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@contextmanager
def saving(path: Path, about: dict) -> Iterator[Callable[[str, Predicted], None]]:
    """Yield what takes in one named set after the other; the file is there when all are in, and not before.

    Args:
        about: plain data to keep with them.
    """
    draft = path.with_name(f".{path.name}")
    names: list[str] = []
    more: dict[str, dict] = {"classes": {}, "groups": {}}
    try:
        # floats hardly shrink, whatever the effort
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:

            def save(name: str, predicted: Predicted) -> None:
                names.append(name)
                _write(file, f"{name}/logits", predicted.logits.numpy())
                _write(file, f"{name}/labels", predicted.labels.numpy())
                for part in OPTIONAL:
                    if getattr(predicted, part) is not None:
                        _write(file, f"{name}/{part}", getattr(predicted, part).numpy())
                for key, found in more.items():
                    if getattr(predicted, key) is not None:
                        found[name] = getattr(predicted, key)

            yield save
            _write(file, "sets", np.array(names))
            _write(file, "about", np.array(json.dumps(about | more)))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _write(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def about(path: Path) -> dict:
    """What was kept with the predictions.

    Raises:
        UserError: no such file, a damaged one, or one that carries code.
    """
    with _opened(path) as file:
        return json.loads(file["about"].item())


def saved(path: Path) -> Iterator[tuple[str, Predicted]]:
    """Each set's name and predictions, read one after the other.

    Raises:
        UserError: no such file, a damaged one, or one that carries code.
    """
    with _opened(path) as file:
        more = json.loads(file["about"].item())
        for name in file["sets"].tolist():
            logits, labels = (torch.from_numpy(file[f"{name}/{part}"]) for part in ("logits", "labels"))
            if logits.dim() != 3 or logits.dtype != torch.float32 or labels.dtype not in (torch.int64, torch.float32):
                raise ValueError(f"{name} is no set of logits and labels")
            given = {part: torch.from_numpy(file[f"{name}/{part}"]) for part in OPTIONAL if f"{name}/{part}" in file}
            yield name, Predicted(logits, labels, more["classes"].get(name), groups=more["groups"].get(name), **given)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}: run train.py with evaluation.save_predictions=true first.") from error
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): have it written again by train.py.") from error
