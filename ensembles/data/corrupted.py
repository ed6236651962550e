"""Corrupted copies of the test set: which ones, and whether they are read or computed as they are asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ensembles.data import arrays
from ensembles.data.class_folders import labelled
from ensembles.data.corruptions import EXTRA, SEVERITIES, STANDARD, corrupt, require_known
from ensembles.data.examples import Examples
from ensembles.data.files import checksum
from ensembles.data.files.decode import cover
from ensembles.data.lazy import Files
from ensembles.data.splits import stratified
from ensembles.errors import UserError

if TYPE_CHECKING:
    from ensembles.data.module import ImageDataModule

GROUPS = {"standard": STANDARD, "extra": EXTRA, "all": STANDARD + EXTRA}
LABELS = "labels.npy"


@dataclass(frozen=True)
class Corrupted:
    """Which corrupted copies of the test set there are.

    Attributes:
        corrupt: ``written`` to read them, ``on_the_fly`` to compute them batch by batch, None for none.
        corruptions: ``types``: standard, extra, all or a list of names; ``severities``: a list of 1 to 5.
        size: a stratified subset of the test set, the same images in every copy; None for all.

    Raises:
        UserError: settings that do not exist.
    """

    corrupt: str | None = None
    corruptions: Mapping = field(default_factory=dict)
    size: int | None = None

    def __post_init__(self) -> None:
        if self.corrupt not in WAYS:
            raise UserError(f"data.corrupt is {self.corrupt!r}, but must be written, on_the_fly or null.")
        unknown = sorted(set(self.corruptions or {}).difference(("types", "severities")))
        if unknown:
            raise UserError(f"data.corruptions has {unknown[0]!r}, but has types and severities only.")
        if not self.types or not self.severities:
            raise UserError("data.corruptions has no types or no severities: set data.corrupt=null for no copies.")
        for type in self.types:
            require_known(type, self.severities[0])
        for severity in self.severities:
            require_known(self.types[0], severity)
        if self.size is not None and (isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1):
            raise UserError(f"data.corrupted_size is {self.size!r}, but must be an integer of at least 1, or null.")

    @property
    def types(self) -> Sequence[str]:
        types = (self.corruptions or {}).get("types", "standard")
        if isinstance(types, str):
            if types not in GROUPS:
                raise UserError(f"data.corruptions.types is {types!r}, but must be {', '.join(GROUPS)} or a list.")
            return GROUPS[types]
        return list(types or ())

    @property
    def severities(self) -> Sequence[int]:
        return list((self.corruptions or {}).get("severities", SEVERITIES) or ())

    def sets(self, data: "ImageDataModule") -> dict[str, Examples]:
        """The copies by name, ``corrupted/<type>/<severity>``.

        Raises:
            UserError: a copy that is not there or damaged, or one that cannot be computed.
        """
        copies = {}
        for (type, severity), examples in WAYS[self.corrupt](self, data).items():
            examples = data.in_use(examples)
            if self.size is not None:
                if self.size > len(examples):
                    raise UserError(f"data.corrupted_size is {self.size}, but the test set has {len(examples)} images.")
                examples = examples.subset(stratified(examples.labels, self.size, "corrupted"))
            copies[f"corrupted/{type}/{severity}"] = examples
        return copies


Cells = dict[tuple[str, int], Examples]


def _none(chosen: Corrupted, data: "ImageDataModule") -> Cells:
    return {}


def _on_the_fly(chosen: Corrupted, data: "ImageDataModule") -> Cells:
    test = data.native_test
    sample = test.images.gather(test.index[:1])
    cells = {}
    for type in chosen.types:
        corrupt(sample, type, chosen.severities[0])  # what cannot work fails now and not after the training
        for severity in chosen.severities:
            change = partial(_corrupted, type=type, severity=severity, fitted=data.fitted)
            cells[type, severity] = Examples(test.images, test.index, test.labels, change)
    return cells


def _corrupted(images: Tensor, start: int, type: str, severity: int, fitted: Callable[[Tensor], Tensor]) -> Tensor:
    return fitted(corrupt(images, type, severity, start=start))


def _written(chosen: Corrupted, data: "ImageDataModule") -> Cells:
    folder = data.corrupted_folder
    missing = [type for type in chosen.types if not _is_written(folder, type)]
    if missing:
        data.provide_corrupted(missing)
    read = _class_folders if (folder / chosen.types[0]).is_dir() else _arrays
    return read(folder, chosen, data)


def _is_written(folder: Path, type: str) -> bool:
    return (folder / f"{type}.npy").is_file() or (folder / type).is_dir()


def _arrays(folder: Path, chosen: Corrupted, data: "ImageDataModule") -> Cells:
    """The layout of CIFAR-10-C: for each type the severities one after the other in one array, and their labels."""
    names = [LABELS, *(f"{type}.npy" for type in chosen.types)]
    labels = torch.from_numpy(arrays.read(folder / LABELS, (None,), integers=True).astype("int64"))
    images, rest = divmod(len(labels), len(SEVERITIES))
    if rest or not images:
        raise UserError(f"{folder / LABELS} has {len(labels)} labels, but must have as many for each of 5 severities.")
    low, high, classes = labels.min().item(), labels.max().item(), len(data.names)
    if low < 0 or high >= classes:
        raise UserError(f"{folder / LABELS} has labels from {low} to {high}, but the classes are 0 to {classes - 1}.")
    shape = (len(labels), None, None, data.in_channels)
    pools = {type: arrays.Mapped(arrays.read(folder / f"{type}.npy", shape)) for type in chosen.types}
    checksum.check(folder, names)
    cells = {}
    for type, pool in pools.items():
        for severity in chosen.severities:
            index = torch.arange(images * (severity - 1), images * severity)
            cells[type, severity] = Examples(pool, index, labels[index], lambda images, start: data.fitted(images))
    return cells


def _class_folders(folder: Path, chosen: Corrupted, data: "ImageDataModule") -> Cells:
    """The layout of ImageNet-C, <type>/<severity>/<class>/; its images are seen as they are."""
    view = partial(cover, size=data.image_size)
    cells = {}
    for type in chosen.types:
        for severity in chosen.severities:
            found = labelled(folder / type / str(severity), f"data.corrupted_root: {type}", data.names)
            cells[type, severity] = Examples(Files(found.images, view), torch.arange(len(found.images)), found.labels)
    return cells


WAYS = {None: _none, "on_the_fly": _on_the_fly, "written": _written}
