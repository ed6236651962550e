"""What all sets of images do alike: the parts to train and to test on, and the other sets to evaluate on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import joblib
import torch
from torch import Tensor

from ensembles.data.augment import CropFlip, Transform
from ensembles.data.corrupted import CorruptedCopies
from ensembles.data.datamodule import DataModule
from ensembles.data.files.decode import cover
from ensembles.data.labelled_set import LabelledSet, stratified
from ensembles.data.mixing import Mix
from ensembles.data.sets import EvaluationSets, UserSets
from ensembles.data.sources import ImageTensor, View, channel_statistics, require_memory
from ensembles.errors import UserError
from ensembles.limits import require


class ImageDataModule(DataModule):
    """Image classification; a family says how to get its images.

    Args:
        batch_size: unique examples of a training step, over all processes.
        seed: of data order, augmentation and dealing; the splits do not depend on it.
        root: the folder that holds the family's files.
        download: whether missing files may be downloaded, where their licence allows it.
        num_workers: processes that decode images; None is one per CPU that this process may use, 0 this one alone.
        image_size: pixels to resize to; None keeps the set's own size.
        augment: applied to training batches: one that draws, or any transform of one image, such as
            torchvision.transforms.v2 has; None for none.
        mix: mixes pairs of training examples; None for not.
        val_fraction: stratified share of the training images held out, unless the set brings its own validation part;
            0 for no validation at all.
        train_size: a stratified subset of the remaining training images; None for all.
        classes: indices or names of the classes to keep, which are numbered anew in this order; test images of the
            others are the set ``ood/left_out``.
        eval_batch_size: examples of an evaluation batch in one process.
        ood_sets, shift_sets, ood, shift: see `EvaluationSets`.
        sets_root: the folder that holds, or gets, the official ones among them; None for ``root``.
        corrupted: settings of `CorruptedCopies`; None for no copies.

    Attributes:
        native_size, in_channels, names: what a family states before it reads an image.

    Raises:
        UserError: a setting out of its limits or that does not fit the data.
    """

    names: Sequence[str]
    in_channels: int
    native_size: int

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        *,
        root: str = "data",
        download: bool = True,
        num_workers: int | None = None,
        image_size: int | None = None,
        augment: CropFlip | Callable | None = None,
        mix: Mix | None = None,
        val_fraction: float = 0.1,
        train_size: int | None = None,
        classes: Sequence[int | str] | None = None,
        eval_batch_size: int = 500,
        ood_sets: Sequence[str] = (),
        shift_sets: Sequence[str] = (),
        ood: UserSets | None = None,
        shift: UserSets | None = None,
        sets_root: str | None = None,
        corrupted: Mapping | None = None,
    ) -> None:
        super().__init__(batch_size, seed, eval_batch_size)
        require("data.", image_size=image_size, val_fraction=val_fraction, num_workers=num_workers)
        self.augment = augment if augment is None or hasattr(augment, "draw") else Transform(augment)
        self.mix = mix
        self.root, self.download, self.num_workers = Path(root).expanduser(), download, num_workers
        self.image_size = image_size or self.native_size
        self.val_fraction, self.train_size = val_fraction, train_size
        self.classes = None if classes is None else class_indices(list(classes), self.names)
        self.evaluation_sets = EvaluationSets(ood_sets, shift_sets, ood, shift)
        self.sets_root = Path(sets_root).expanduser() if sets_root else self.root
        self.corrupted = CorruptedCopies.of(corrupted)

    def load(self) -> dict[str, LabelledSet]:
        """Read ``train``, ``test`` and maybe ``val`` at their own size, downloaded or decoded where that is needed."""
        raise NotImplementedError

    def bundled_ood(self, size: int) -> dict[str, Tensor]:
        """Make the out-of-distribution sets that the family brings, by name, uint8 (about ``size``, C, H, W)."""
        return {}

    @property
    def view(self) -> View:
        """What the network sees of an image file that is not the family's own: an RGB image to a square one."""
        return partial(cover, size=self.image_size, channels=self.in_channels)

    @property
    def usual_corrupted_folder(self) -> Path:
        """The folder of written corrupted copies, unless ``data.corrupted.root`` names another."""
        return self.root / f"{type(self).__name__.lower()}-C"

    @property
    def corrupted_folder(self) -> Path:
        """The folder of written corrupted copies."""
        return Path(self.corrupted.root).expanduser() if self.corrupted.root else self.usual_corrupted_folder

    def provide_corrupted(self, types: list[str]) -> None:
        """Have written corrupted copies of these types where they are not there.

        Raises:
            UserError: what to do where they cannot be had.
        """
        raise UserError(
            f"{self.corrupted_folder} has no {types[0]}: write it by ensembles corrupt with the same data=..., "
            "or set data.corrupted.source=on_the_fly."
        )

    @property
    def class_names(self) -> list[str]:
        return [self.names[index] for index in self.classes] if self.classes else list(self.names)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel over the whole training part, on the scale of [0, 1]."""
        return channel_statistics(self._official["train"].images.pixels)

    @property
    def mean(self) -> list[float]:
        return self.statistics[0]

    @property
    def std(self) -> list[float]:
        return self.statistics[1]

    @property
    def native_test(self) -> LabelledSet:
        """The whole test part at its own size, with all classes."""
        return self._official["native test"]

    @property
    def workers(self) -> int:
        """Processes that decode images for this one."""
        here = getattr(self.trainer, "num_devices", 1) if self.trainer else 1
        return max(1, joblib.cpu_count() // here) if self.num_workers is None else self.num_workers

    def prepare_data(self) -> None:
        """Have all that training and evaluation will need, so that what is missing is missed before the training."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        if "train" not in self.sets:
            self.sets |= self._training_sets()
        if stage in (None, "test") and "test" not in self.sets:
            self.sets |= self._test_sets()

    @cached_property
    def _official(self) -> dict[str, LabelledSet]:
        """The official parts as the network takes them, and the test part at its own size too."""
        native = self.load()
        return {name: self._fitted(part) for name, part in native.items()} | {"native test": native["test"]}

    @cached_property
    def _other_sets(self) -> dict[str, LabelledSet]:
        found = self.evaluation_sets.open(self.names, self.sets_root, self.download)
        return {name: self._filled(name, self._fitted(self._in_use(labelled))) for name, labelled in found.items()}

    @cached_property
    def _corrupted_sets(self) -> dict[str, LabelledSet]:
        chosen = self.corrupted
        if chosen.source == "on_the_fly":
            copies = chosen.computed(self.native_test, self.image_size, self.in_channels)
        elif chosen.source == "written":
            if missing := chosen.missing(self.corrupted_folder):
                self.provide_corrupted(missing)
            copies = chosen.written(self.corrupted_folder, self.names, self.image_size, self.in_channels)
        else:
            copies = {}
        return {name: chosen.sized(self._in_use(copy)) for name, copy in copies.items()}

    def _training_sets(self) -> dict[str, LabelledSet]:
        """Make ``train`` and, unless it is not wanted, ``val``, held out from ``train`` where there is none."""
        train, val = self._official["train"], self._official.get("val")
        if not self.val_fraction:
            val = None
        elif val is None:
            train, val = train.hold_out(self.val_fraction)
        sets = {"train": self._subset(self._in_use(train))}
        if val is not None:
            sets["val"] = self._in_use(val)
        return {name: self._filled(name, labelled) for name, labelled in sets.items()}

    def _test_sets(self) -> dict[str, LabelledSet]:
        """Gather the test set and all others to evaluate on, in the order in which they are evaluated."""
        official = self._official["test"]
        sets = {"test": self._filled("test", self._in_use(official))}
        for name, images in self.bundled_ood(len(sets["test"])).items():
            sets[f"ood/{name}"] = self._fitted(LabelledSet(images))
        if self.classes:
            others = official.subset(~torch.isin(official.labels, torch.tensor(self.classes))).without_labels()
            sets |= {"ood/left_out": others} if len(others) else {}
        twice = set(sets).intersection(self._other_sets)
        if twice:
            raise UserError(f"{type(self).__name__} brings a set {min(twice)} of its own: give yours another name.")
        return sets | self._other_sets | self._corrupted_sets

    def _fitted(self, labelled: LabelledSet) -> LabelledSet:
        """Resize a set's images to what the network takes."""
        images = labelled.images
        if isinstance(images, ImageTensor) and images.pixels.shape[-1] != self.image_size:
            require_memory(len(images), self.in_channels, self.image_size, type(self).__name__)
        return replace(labelled, images=images.fit(self.image_size, self.in_channels, self.view))

    def _in_use(self, labelled: LabelledSet) -> LabelledSet:
        """Restrict a set that has labels to the classes in use."""
        whole = self.classes is None or not labelled.has_labels
        return labelled if whole else labelled.restrict(self.classes, len(self.names))

    def _subset(self, train: LabelledSet) -> LabelledSet:
        if self.train_size is None:
            return train
        if not isinstance(self.train_size, int) or not self.num_classes <= self.train_size <= len(train):
            raise UserError(
                f"data.train_size is {self.train_size!r}, but must be an integer from {self.num_classes}, the number "
                f"of classes, to {len(train)}, the training images that the validation split leaves."
            )
        return train.subset(stratified(train.labels, self.train_size, "train", least=1))

    def _filled(self, name: str, labelled: LabelledSet) -> LabelledSet:
        if not len(labelled):
            fix = "set data.val_fraction=0 or hold out more" if name == "val" else "check data.classes"
            raise UserError(f"The {name} set of {type(self).__name__} has no image left: {fix}.")
        return labelled


def class_indices(classes: list[int | str], names: Sequence[str]) -> list[int]:
    """Number classes that are given by number or name.

    Raises:
        UserError: one that there is not, or one twice, or a single one.
    """
    numbers = {name: index for index, name in enumerate(names)}
    indices = []
    for entry in classes:
        index = numbers.get(entry, -1) if isinstance(entry, str) else entry
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(names):
            known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise UserError(
                f"data.classes has {entry!r}, but the classes are 0 to {len(names) - 1}, or by name {known}."
            )
        indices.append(index)
    if len(set(indices)) < max(2, len(indices)):
        raise UserError(f"data.classes={classes} must name two or more classes, each once.")
    return indices
