"""Shifted and out-of-distribution sets: official ones by name, and any folders of images."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ensembles.data import named
from ensembles.data.class_folders import labelled, unlabelled
from ensembles.data.examples import Examples, Pool
from ensembles.data.images import Images
from ensembles.data.lazy import Files
from ensembles.data.named import NamedSet
from ensembles.data.parts import filled
from ensembles.data.relabel import relabelled
from ensembles.errors import UserError

if TYPE_CHECKING:
    from ensembles.data.module import ImageDataModule

Own = Mapping[str, str | Callable[..., NamedSet]]


@dataclass(frozen=True)
class Outside:
    """Which sets there are besides a data set's own.

    Attributes:
        ood_sets, shift_sets: names of official sets.
        ood, shift: the user's own by name: a folder of images, or a function ``load(classes) -> NamedSet``.

    Raises:
        UserError: settings of another form.
    """

    ood_sets: Sequence[str] = ()
    shift_sets: Sequence[str] = ()
    ood: Own | None = None
    shift: Own | None = None

    def __post_init__(self) -> None:
        for key in ("ood_sets", "shift_sets"):
            if isinstance(getattr(self, key), str | Mapping) or not isinstance(getattr(self, key) or (), Sequence):
                raise UserError(f"data.{key} is {getattr(self, key)!r}, but must be a list of names such as [svhn].")
        for kind in ("ood", "shift"):
            own = getattr(self, kind)
            if not isinstance(own, Mapping | None):
                raise UserError(f"data.{kind} is {own!r}, but must be {{name: path}}.")
            for name, place in (own or {}).items():
                if not re.fullmatch(r"[\w.+-]+", str(name)) or not (isinstance(place, str | Path) or callable(place)):
                    raise UserError(f"data.{kind} has {name}: {place!r}, but must be {{name: path}}.")
            twice = set(own or {}).intersection(getattr(self, f"{kind}_sets") or ())
            if twice:
                raise UserError(f"data.{kind} and data.{kind}_sets both have {min(twice)}: give yours another name.")

    def sets(self, data: "ImageDataModule") -> dict[str, Examples]:
        """All of them as examples, ``ood/<name>`` and ``shift/<name>``; what labels mean is noted in ``data``.

        Raises:
            UserError: a set that is missing, damaged or does not fit the classes.
        """
        opened = {}
        for name, found in self._found(data).items():
            labels = torch.full((len(found.images),), -1)
            if name.startswith("shift/"):
                if found.labels is None:
                    raise UserError(
                        f"{name} has no labels among the training classes: it can be in data.ood_sets only."
                    )
                found = found if data.classes is None else relabelled(found, data.classes, len(data.names))
                labels = found.labels
                notes = ((data.subsets, found.covers), (data.accepted, found.accepted), (data.groups, found.groups))
                for where, what in notes:
                    if what is not None:
                        where[name] = what
            opened[name] = filled(data, name, Examples(_pool(found, data), torch.arange(len(labels)), labels))
        return opened

    def _found(self, data: "ImageDataModule") -> dict[str, NamedSet]:
        """All of them, with labels among all classes of the data set."""
        classes, found = data.names, {}
        for kind, of_folder in (("ood", unlabelled), ("shift", partial(labelled, classes=classes))):
            for name in getattr(self, f"{kind}_sets") or ():
                key = f"data.{kind}_sets"
                found[f"{kind}/{name}"] = named.load(name, data.sets_root, data.download, classes, key)
            for name, place in (getattr(self, kind) or {}).items():
                own = place(classes) if callable(place) else of_folder(Path(place).expanduser(), f"data.{kind}.{name}")
                found[f"{kind}/{name}"] = own
        return found


def _pool(found: NamedSet, data: "ImageDataModule") -> Pool:
    if isinstance(found.images, list):
        return Files(found.images, data.view, border=found.border)
    return Images(data.fitted(found.images))
