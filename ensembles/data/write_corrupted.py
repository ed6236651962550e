"""Writing a corrupted copy of a test set in the layout of CIFAR-10-C: an array for each type, and one of labels."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ensembles.data.corrupted import LABELS
from ensembles.data.corruptions import SEVERITIES, corrupt
from ensembles.data.files.download import record_checksums, recorded_files
from ensembles.data.files.progress import when_slow
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.sources import map_array
from ensembles.errors import UserError
from ensembles.files import replacing


def write_corrupted(data: ImageDataModule, device: str | torch.device = "cpu") -> Path:
    """Write the copies that ``data.corrupted`` names, of the whole test part at its own size.

    Each type's file gets its name when it is whole; types that are there already stay as they are.

    Returns:
        The folder.

    Raises:
        UserError: the folder cannot be written to, is being written to, or holds copies of another set.
    """
    folder = data.corrupted_folder
    with _claimed(folder):
        for draft in folder.glob(".*.npy"):  # of a process that was killed
            draft.unlink()
        _write_labels(folder, data)
        for type in data.corrupted.types:
            if not {LABELS, f"{type}.npy"} <= recorded_files(folder) or not (folder / f"{type}.npy").is_file():
                with replacing(folder / f"{type}.npy") as draft:
                    _write_type(draft, data, type, device)
                record_checksums(folder, [LABELS, f"{type}.npy"])
    return folder


def _write_labels(folder: Path, data: ImageDataModule) -> None:
    labels = np.tile(data.native_test.labels.numpy(), len(SEVERITIES))
    path = folder / LABELS
    if path.exists():
        if not np.array_equal(map_array(path, (None,), integers=True), labels):
            raise UserError(f"{folder} holds copies of another set: set data.corrupted.root to a folder of its own.")
        return
    with replacing(path) as draft:
        np.save(draft, labels)


def _write_type(draft: Path, data: ImageDataModule, type: str, device: str | torch.device) -> None:
    """All severities one after the other, from a single pass over the images."""
    test = data.native_test
    batches = ((len(batch.labels), batch) for batch in data.eval_dataloader("test", test))
    out = None
    for batch in when_slow(batches, len(test), f"Writing {type}"):
        images = data.pixels(batch, test)
        if out is None:
            _, channels, height, width = images.shape
            shape = (len(SEVERITIES) * len(test), height, width, channels)
            out = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=shape)
        for place, severity in enumerate(SEVERITIES):
            changed = corrupt(images.to(device), type, severity, start=batch.start)
            first = place * len(test) + batch.start
            out[first : first + len(images)] = changed.movedim(1, -1).cpu().numpy()
    out.flush()


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder, made where it is not there, and held against other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise UserError(f"{folder} is being written to by another process: wait for it to end.") from error
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error}): set data.corrupted.root.") from error
