"""Corrupted copies of the test set: which ones; read, computed as they are asked for, or written."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ensembles.data.class_folders import labelled_folder
from ensembles.data.corruptions import EXTRA, SEVERITIES, STANDARD, corrupt, require_known
from ensembles.data.files.decode import cover
from ensembles.data.files.download import check_recorded, record_checksums, recorded_files
from ensembles.data.files.progress import when_slow
from ensembles.data.labelled_set import LabelledSet, stratified
from ensembles.data.sources import ImageArray, map_array, resize
from ensembles.errors import UserError
from ensembles.files import held, replacing
from ensembles.limits import require

if TYPE_CHECKING:
    from ensembles.data.image_datamodule import ImageDataModule

GROUPS = {"standard": STANDARD, "extra": EXTRA, "all": STANDARD + EXTRA}
LABELS = "labels.npy"


@dataclass(frozen=True)
class CorruptedCopies:
    """Choose corrupted copies of the test set, and compute or read them: sets by name, ``corrupted/<type>/<severity>``.

    With ``size`` or ``data.classes`` written copies have other noise than computed ones, which draw it by an image's
    place among those in use, and not in the whole test set.

    Attributes:
        source: ``written`` to read them, ``on_the_fly`` to compute them batch by batch, None for none.
        types: standard, extra, all or a list of names; then the names.
        severities: of 1 to 5.
        size: a stratified subset of the test set, the same images in every copy; None for all.
        root: the folder of written copies; None for the family's usual place.

    Raises:
        UserError: settings that do not exist.
    """

    source: str | None = None
    types: str | Sequence[str] = "standard"
    severities: Sequence[int] = tuple(SEVERITIES)
    size: int | None = None
    root: str | None = None

    def __post_init__(self) -> None:
        require("data.corrupted.", source=self.source, size=self.size, root=self.root)
        if isinstance(self.types, str):
            if self.types not in GROUPS:
                raise UserError(f"data.corrupted.types is {self.types!r}, but must be {', '.join(GROUPS)} or a list.")
            object.__setattr__(self, "types", GROUPS[self.types])
        if not self.types or not self.severities:
            raise UserError("data.corrupted has no types or no severities: set data.corrupted.source=null for none.")
        for type in self.types:
            require_known(type, self.severities[0])
        for severity in self.severities:
            require_known(self.types[0], severity)

    @classmethod
    def of(cls, settings: Mapping | None) -> "CorruptedCopies":
        """Take the settings of ``data.corrupted``; None for no copies."""
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(settings or {}).difference(known)):
            raise UserError(f"data.corrupted has {unknown[0]!r}, but has {', '.join(known)} only.")
        return cls(**(settings or {}))

    def computed(self, test: LabelledSet, size: int, channels: int) -> dict[str, LabelledSet]:
        """Compute each copy's batches, when they are asked for, from images at their own size, which are then resized.

        Raises:
            UserError: images that cannot be corrupted, now and not after the training.
        """
        sample = test.images.gather(test.index[:1])
        for type in self.types:
            corrupt(sample, type, self.severities[0])
        settings = {"size": size, "channels": channels}
        return {
            name: replace(test, transform=partial(_corrupt_and_resize, type=type, severity=severity, **settings))
            for name, type, severity in self._cells()
        }

    def missing(self, folder: Path) -> list[str]:
        """List the types that are not in a folder of written copies."""
        return [t for t in self.types if not (folder / f"{t}.npy").is_file() and not (folder / t).is_dir()]

    def written(self, folder: Path, names: Sequence[str], size: int, channels: int) -> dict[str, LabelledSet]:
        """Read copies in the layout of CIFAR-10-C or of ImageNet-C, labelled among classes of these names.

        Raises:
            UserError: a copy that is damaged.
        """
        if not (folder / self.types[0]).is_dir():
            return self._arrays(folder, len(names), size, channels)
        copies = {}
        for name, type, severity in self._cells():  # <type>/<severity>/<class>/, seen as they are
            found = labelled_folder(folder / type / str(severity), f"data.corrupted.root: {type}", names)
            view = partial(cover, size=size, channels=channels)
            copies[name] = LabelledSet(found.images.fit(size, channels, view), found.labels)
        return copies

    def sized(self, copy: LabelledSet) -> LabelledSet:
        """Take the subset of ``size`` images.

        Raises:
            UserError: there are fewer.
        """
        if self.size is None:
            return copy
        if self.size > len(copy):
            raise UserError(f"data.corrupted.size is {self.size}, but the test set has {len(copy)} images.")
        return copy.subset(stratified(copy.labels, self.size, "corrupted"))

    def _cells(self) -> list[tuple[str, str, int]]:
        """List name, type and severity of each copy."""
        return [(f"corrupted/{type}/{severity}", type, severity) for type in self.types for severity in self.severities]

    def _arrays(self, folder: Path, classes: int, size: int, channels: int) -> dict[str, LabelledSet]:
        """Read arrays that hold the severities of a type one after the other, and their labels."""
        labels = torch.from_numpy(map_array(folder / LABELS, (None,), integers=True).astype("int64"))
        images, rest = divmod(len(labels), len(SEVERITIES))
        if rest or not images:
            raise UserError(
                f"{folder / LABELS} has {len(labels)} labels, but must have as many for each of 5 severities."
            )
        low, high = labels.min().item(), labels.max().item()
        if low < 0 or high >= classes:
            raise UserError(
                f"{folder / LABELS} has labels from {low} to {high}, but the classes are 0 to {classes - 1}."
            )
        shape = (len(labels), None, None, channels)
        arrays = {t: ImageArray(map_array(folder / f"{t}.npy", shape), (size, channels)) for t in self.types}
        check_recorded(folder, [LABELS, *(f"{type}.npy" for type in self.types)])
        copies = {}
        for name, type, severity in self._cells():
            index = torch.arange(images * (severity - 1), images * severity)
            copies[name] = LabelledSet(arrays[type], labels[index], index=index)
        return copies


def _corrupt_and_resize(images: Tensor, start: int, type: str, severity: int, size: int, channels: int) -> Tensor:
    return resize(corrupt(images, type, severity, start=start), size, channels)


def write_corrupted(data: "ImageDataModule", device: str | torch.device = "cpu") -> Path:
    """Write the copies that ``data.corrupted`` names, of the whole test part at its own size, as CIFAR-10-C's arrays.

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


def _write_labels(folder: Path, data: "ImageDataModule") -> None:
    labels = np.tile(data.native_test.labels.numpy(), len(SEVERITIES))
    path = folder / LABELS
    if path.exists():
        if not np.array_equal(map_array(path, (None,), integers=True), labels):
            raise UserError(f"{folder} holds copies of another set: set data.corrupted.root to a folder of its own.")
        return
    with replacing(path) as draft:
        np.save(draft, labels)


def _write_type(draft: Path, data: "ImageDataModule", type: str, device: str | torch.device) -> None:
    """Write all severities one after the other, from a single pass over the images."""
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
    """Make the folder where it is not there, and hold it against other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder, ".lock"):  # hidden, since the folder's visible files are the copies
            yield
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error}): set data.corrupted.root.") from error
