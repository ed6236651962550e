"""What all image data sets do alike: their parts, and the sets to evaluate on."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from ensembles.data import parts
from ensembles.data.augment import CropFlip
from ensembles.data.batches import ImageBatches
from ensembles.data.corrupted import Corrupted
from ensembles.data.examples import Examples
from ensembles.data.fit import fit, see
from ensembles.data.mixing import Mix
from ensembles.data.outside import Outside, Own
from ensembles.data.whole import Loaded, Whole, examples, whole
from ensembles.errors import UserError
from ensembles.limits import require


class ImageDataModule(ImageBatches):
    """Image classification; a family says how to get its images.

    Args:
        batch_size: unique examples of a training step, over all processes.
        seed: of data order, augmentation and dealing; the splits do not depend on it.
        root: the folder that holds the family's files.
        download: whether missing files may be downloaded, where their licence allows it.
        num_workers: processes that decode images; None is one per CPU that this process may use, 0 this one alone.
        image_size: pixels to resize to; None keeps the set's own size.
        augment: applied to training batches; None for none.
        mix: mixes pairs of training examples; None for not.
        val_fraction: stratified share of the training images held out, unless the set brings its own validation part;
            0 for no validation at all.
        train_size: a stratified subset of the remaining training images; None for all.
        classes: indices or names of the classes to keep, which are numbered anew in this order; test images of the
            others are the set ``ood/left_out``.
        eval_batch_size: examples of an evaluation batch in one process.
        ood_sets, shift_sets, ood, shift: see `Outside`.
        sets_root: the folder that holds, or gets, the official ones among them; None for ``root``.
        corrupt, corruptions, corrupted_size: see `Corrupted`.
        corrupted_root: the folder of written corrupted copies; None for the family's usual place.

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
        augment: CropFlip | None = None,
        mix: Mix | None = None,
        val_fraction: float = 0.1,
        train_size: int | None = None,
        classes: Sequence[int | str] | None = None,
        eval_batch_size: int = 500,
        ood_sets: Sequence[str] = (),
        shift_sets: Sequence[str] = (),
        ood: Own | None = None,
        shift: Own | None = None,
        sets_root: str | None = None,
        corrupt: str | None = None,
        corruptions: Mapping | None = None,
        corrupted_size: int | None = None,
        corrupted_root: str | None = None,
    ) -> None:
        super().__init__(batch_size, seed, eval_batch_size)
        require("data.", image_size=image_size, val_fraction=val_fraction, num_workers=num_workers)
        self.augment, self.mix = augment, mix
        self.root, self.download, self.num_workers = Path(root).expanduser(), download, num_workers
        self.image_size = image_size or self.native_size
        self.val_fraction, self.train_size = val_fraction, train_size
        self.classes = None if classes is None else parts.class_indices(list(classes), self.names)
        self.outside = Outside(ood_sets, shift_sets, ood, shift)
        self.sets_root = Path(sets_root).expanduser() if sets_root else self.root
        self.corrupted = Corrupted(corrupt, corruptions or {}, corrupted_size)
        self.corrupted_root = corrupted_root

    def load(self) -> Loaded:
        """Read the images, after downloading or decoding them where that is needed."""
        raise NotImplementedError

    def own_ood(self, size: int) -> dict[str, Tensor]:
        """Out-of-distribution sets that the family brings, by name, uint8 (about ``size``, C, H, W)."""
        return {}

    @property
    def view(self) -> Callable:
        """What the network sees of an image file that is not the family's own: an RGB image to a square one."""
        return partial(see, size=self.image_size, channels=self.in_channels)

    @property
    def corrupted_folder(self) -> Path:
        """The folder of written corrupted copies."""
        return Path(self.corrupted_root).expanduser() if self.corrupted_root else self.root / f"{self.title}-C"

    @property
    def title(self) -> str:
        """The family's name in the name of its folder of corrupted copies."""
        return type(self).__name__.lower()

    def provide_corrupted(self, types: list[str]) -> None:
        """Have written corrupted copies of these types where they are not there.

        Raises:
            UserError: what to do where they cannot be had.
        """
        raise UserError(
            f"{self.corrupted_folder} has no {types[0]}: write it by python scripts/corrupt.py with the same data=..., "
            "or set data.corrupt=on_the_fly."
        )

    @property
    def class_names(self) -> list[str]:
        return [self.names[index] for index in self.classes] if self.classes else list(self.names)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def mean(self) -> list[float]:
        """Of each channel over the whole training part, on the scale of [0, 1]."""
        return self._loaded.statistics[0]

    @property
    def std(self) -> list[float]:
        return self._loaded.statistics[1]

    @property
    def workers(self) -> int:
        """Processes that decode images for this one."""
        here = getattr(self.trainer, "num_devices", 1) if self.trainer else 1
        return max(1, len(os.sched_getaffinity(0)) // here) if self.num_workers is None else self.num_workers

    def prepare_data(self) -> None:
        """Have all that training and evaluation will need, so that what is missing is missed before the training."""
        self._loaded, self._outside_sets, self._corrupted_sets  # noqa: B018

    def setup(self, stage: str | None = None) -> None:
        if "train" not in self.sets:
            official = self._loaded.parts
            self.sets |= parts.training_parts(self, official["train"], official.get("val"))
        if stage in (None, "test") and "test" not in self.sets:
            self.sets |= self._test_sets()

    def fitted(self, images: Tensor) -> Tensor:
        """uint8 images (N, C, H, W) as the network takes them."""
        return fit(images, self.image_size, self.in_channels)

    def in_use(self, examples: Examples) -> Examples:
        """The examples of the classes in use, their labels numbered anew."""
        return examples if self.classes is None else parts.among(examples, self.classes, len(self.names))

    @cached_property
    def native_test(self) -> Examples:
        """The whole test part at its own size, with all classes."""
        return self._loaded.native_test

    @cached_property
    def _loaded(self) -> Whole:
        return whole(self, self.load())

    @cached_property
    def _outside_sets(self) -> dict[str, Examples]:
        return self.outside.sets(self)

    @cached_property
    def _corrupted_sets(self) -> dict[str, Examples]:
        return self.corrupted.sets(self)

    def _test_sets(self) -> dict[str, Examples]:
        """The test set and all others to evaluate on, in the order in which they are evaluated."""
        official = self._loaded.parts["test"]
        sets = {"test": parts.filled(self, "test", self.in_use(official))}
        for name, images in self.own_ood(len(sets["test"])).items():
            sets[f"ood/{name}"] = parts.unlabelled(examples(self, images, torch.arange(len(images))))
        others = parts.left_out(official, self.classes) if self.classes else ()
        if len(others):
            sets["ood/left_out"] = others
        twice = set(sets).intersection(self._outside_sets)
        if twice:
            raise UserError(f"{type(self).__name__} brings a set {min(twice)} of its own: give yours another name.")
        return sets | self._outside_sets | self._corrupted_sets
