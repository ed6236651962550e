"""What all image data sets do alike: parts, augmentation, normalising, and the sets to evaluate on."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ensembles.data import parts
from ensembles.data.augment import CropFlip
from ensembles.data.base import DataModule
from ensembles.data.corrupted import Corrupted
from ensembles.data.examples import Examples, Pool
from ensembles.data.fit import fit, see
from ensembles.data.images import Images, require_memory, statistics
from ensembles.data.loaders import Mixed, Picks
from ensembles.data.mixing import Mix
from ensembles.data.outside import Outside, Own
from ensembles.errors import UserError
from ensembles.limits import require

Labelled = tuple[Tensor | Pool, Tensor]  # uint8 images (N, C, H, W) or what holds them, and int64 labels (N,)


class Loaded(NamedTuple):
    """What a family reads: its official parts, and mean and deviation of the training part where it knows them."""

    train: Labelled
    test: Labelled
    val: Labelled | None = None
    statistics: tuple[list[float], list[float]] | None = None


class Whole(NamedTuple):
    """A data set as it was read, before any of it is chosen.

    Attributes:
        parts: the official parts, as the network takes them.
        statistics: mean and deviation of the training part's channels.
        native_test: the test part at its own size.
    """

    parts: dict[str, Examples]
    statistics: tuple[list[float], list[float]]
    native_test: Examples


class ImageDataModule(DataModule):
    """Image classification; a family says how to get its images.

    After Lightning's transfer a batch is (x, y): x float32, normalised, (B, C, H, W) or (M, B, C, H, W) as ``deal`` has
    it, y (B,) or (M, B), in training with ``mix`` (..., K) probabilities; in out-of-distribution sets y is -1.

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
            self.sets |= self._training_sets()
        if stage in (None, "test") and "test" not in self.sets:
            self.sets |= self._test_sets()

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Fill in the images of a batch of picks, on its device; other batches pass."""
        if not isinstance(batch, Picks):
            return batch
        x, labels, dealt = self.normalise(self.pixels(batch)), batch.labels, batch.labels.shape
        where = None if batch.where is None else batch.where.flatten()
        if batch.mixed is not None:
            x, probabilities = self._mix(x, batch.mixed)
            labels = (probabilities if where is None else probabilities.index_select(0, where)).view(*dealt, -1)
        if where is not None:
            x = x.index_select(0, where)
        return x.view(*dealt, *x.shape[1:]), labels

    def pixels(self, batch: Picks, examples: Examples | None = None) -> Tensor:
        """The images of a batch, changed or augmented as they must be, uint8 (U, C, H, W)."""
        examples = self.sets[batch.set] if examples is None else examples
        if batch.pixels is not None:
            images = batch.pixels
        else:
            images = examples.images.gather(batch.index)
            if batch.drawn is not None:
                images = self.augment(images, batch.drawn)
        return images if examples.change is None else examples.change(images, batch.start)

    def normalise(self, images: Tensor) -> Tensor:
        """Float32 of mean 0 and deviation 1 over the training part, from uint8, both (B, C, H, W)."""
        mean, std = torch.tensor([self.mean, self.std], device=images.device).view(2, -1, 1, 1)
        return images.float().mul_(1 / (255 * std)).sub_(mean / std)

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

    def _mix(self, x: Tensor, mixed: Mixed) -> tuple[Tensor, Tensor]:
        own, partner, labels, drawn = mixed
        others, other_labels = x.index_select(0, partner), labels[partner]
        if own is not None:
            x, labels = x.index_select(0, own), labels[own]
        return self.mix(x, others, drawn), self.mix.labels(x, labels, other_labels, drawn, self.num_classes)

    @cached_property
    def _loaded(self) -> Whole:
        loaded = self.load()
        given = {"train": loaded.train, "test": loaded.test} | ({"val": loaded.val} if loaded.val else {})
        whole = {name: self._examples(*part) for name, part in given.items()}
        pixels, labels = loaded.test
        same = isinstance(pixels, Pool) or pixels.shape == whole["test"].images.pixels.shape
        native = whole["test"] if same else Examples(Images(pixels), torch.arange(len(labels)), labels)
        return Whole(whole, loaded.statistics or statistics(whole["train"].images.pixels), native)

    def _examples(self, images: Tensor | Pool, labels: Tensor) -> Examples:
        if isinstance(images, Tensor):
            if images.shape[-1] != self.image_size:
                require_memory(len(images), self.in_channels, self.image_size, type(self).__name__)
            images = Images(self.fitted(images))
        return Examples(images, torch.arange(len(labels)), labels)

    @cached_property
    def _outside_sets(self) -> dict[str, Examples]:
        return self.outside.sets(self)

    @cached_property
    def _corrupted_sets(self) -> dict[str, Examples]:
        return self.corrupted.sets(self)

    def _training_sets(self) -> dict[str, Examples]:
        whole = self._loaded.parts
        return parts.training_parts(self, whole["train"], whole.get("val"))

    def _test_sets(self) -> dict[str, Examples]:
        """The test set and all others to evaluate on, in the order in which they are evaluated."""
        whole = self._loaded.parts["test"]
        sets = {"test": parts.filled(self, "test", self.in_use(whole))}
        for name, images in self.own_ood(len(sets["test"])).items():
            sets[f"ood/{name}"] = parts.unlabelled(self._examples(images, torch.arange(len(images))))
        others = parts.left_out(whole, self.classes) if self.classes else ()
        if len(others):
            sets["ood/left_out"] = others
        twice = set(sets).intersection(self._outside_sets)
        if twice:
            raise UserError(f"{type(self).__name__} brings a set {min(twice)} of its own: give yours another name.")
        return sets | self._outside_sets | self._corrupted_sets
