"""What all image data sets do alike: splits, batches, augmentation, normalising."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from ensembles.data.augment import CropFlip
from ensembles.data.images import Examples, Images, require_memory, statistics
from ensembles.data.loaders import EvalLoader, Picks, TrainLoader
from ensembles.data.splits import stratified
from ensembles.dealing import Deal
from ensembles.errors import UserError
from ensembles.limits import require

Labelled = tuple[Tensor, Tensor]  # uint8 images (N, C, H, W) and int64 labels (N,)


class Loaded(NamedTuple):
    """What a family reads: its official parts, and mean and deviation of the training part where it knows them."""

    train: Labelled
    test: Labelled
    val: Labelled | None = None
    statistics: tuple[list[float], list[float]] | None = None


class ImageDataModule(LightningDataModule):
    """Image classification in memory; a family says how to get its images.

    After Lightning's transfer a batch is (x, y): x float32, normalised, (B, C, H, W) or (M, B, C, H, W) as ``deal`` has
    it, y (B,) or (M, B); in out-of-distribution sets y is -1.

    Args:
        batch_size: unique examples of a training step, over all processes.
        seed: of data order, augmentation and dealing; the splits do not depend on it.
        image_size: pixels to resize to; None keeps the set's own size.
        augment: applied to training batches; None for none.
        val_fraction: stratified share of the training images held out, unless the set brings its own validation part;
            0 for no validation at all.
        train_size: a stratified subset of the remaining training images; None for all.
        classes: indices or names of the classes to keep, which are numbered anew in this order; test images of the
            others are the set ``ood/left_out``.
        eval_batch_size: examples of an evaluation batch in one process.

    Attributes:
        deal: which examples each member sees in a training step.
        sets: the named sets of examples after ``setup``.
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
        image_size: int | None = None,
        augment: CropFlip | None = None,
        val_fraction: float = 0.1,
        train_size: int | None = None,
        classes: Sequence[int | str] | None = None,
        eval_batch_size: int = 500,
    ) -> None:
        super().__init__()
        require("recipe.", batch_size=batch_size)
        require(seed=seed)
        require("data.", image_size=image_size, val_fraction=val_fraction, eval_batch_size=eval_batch_size)
        self.batch_size, self.seed, self.augment = batch_size, seed, augment
        self.image_size = image_size or self.native_size
        self.val_fraction, self.train_size, self.eval_batch_size = val_fraction, train_size, eval_batch_size
        self.classes = None if classes is None else _class_indices(list(classes), self.names)
        self.deal = Deal()
        self.sets: dict[str, Examples] = {}

    def load(self) -> Loaded:
        """Read the images, after downloading or decoding them where that is needed."""
        raise NotImplementedError

    def ood(self, size: int) -> dict[str, Tensor]:
        """Out-of-distribution sets by name, uint8 (about ``size``, C, H, W)."""
        return {}

    @property
    def class_names(self) -> list[str]:
        return [self.names[index] for index in self.classes] if self.classes else list(self.names)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def mean(self) -> list[float]:
        """Of each channel over the whole training part, on the scale of [0, 1]."""
        return self._loaded[1][0]

    @property
    def std(self) -> list[float]:
        return self._loaded[1][1]

    @property
    def test_sets(self) -> dict[str, int]:
        """Name and size of each set that ``test_dataloader`` lists, in its order."""
        return {name: len(examples) for name, examples in self.sets.items() if name not in ("train", "val")}

    @property
    def epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    @property
    def rank_and_processes(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def prepare_data(self) -> None:
        self._loaded  # noqa: B018

    def setup(self, stage: str | None = None) -> None:
        if "train" not in self.sets:
            self.sets |= self._training_sets()
        if stage in (None, "test") and "test" not in self.sets:
            self.sets |= self._test_sets()

    def train_dataloader(self) -> TrainLoader:
        return TrainLoader(self)

    def val_dataloader(self) -> EvalLoader | list:
        """The validation part in its order; an empty list where there is none, since Lightning refuses None."""
        return EvalLoader(self, "val") if "val" in self.sets else []

    def test_dataloader(self) -> list[EvalLoader]:
        return [EvalLoader(self, name) for name in self.test_sets]

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Fill in the images of a batch of picks, on its device; other batches pass."""
        if not isinstance(batch, Picks):
            return batch
        images = self.sets[batch.set].images.gather(batch.index)
        if batch.drawn is not None:
            images = self.augment(images, batch.drawn)
        x = self.normalise(images)
        if batch.where is not None:
            x = x.index_select(0, batch.where.flatten())
        return x.view(*batch.labels.shape, *x.shape[1:]), batch.labels

    def normalise(self, images: Tensor) -> Tensor:
        """Float32 of mean 0 and deviation 1 over the training part, from uint8, both (B, C, H, W)."""
        mean, std = torch.tensor([self.mean, self.std], device=images.device).view(2, -1, 1, 1)
        return images.float().mul_(1 / (255 * std)).sub_(mean / std)

    @cached_property
    def _loaded(self) -> tuple[dict[str, Examples], tuple[list[float], list[float]]]:
        """The official parts whole, and the statistics."""
        loaded = self.load()
        parts = {"train": loaded.train, "test": loaded.test} | ({"val": loaded.val} if loaded.val else {})
        whole = {}
        for name, (images, labels) in parts.items():
            whole[name] = Examples(Images(self._resized(images)), torch.arange(len(labels)), labels)
        return whole, loaded.statistics or statistics(whole["train"].images.pixels)

    def _resized(self, images: Tensor) -> Tensor:
        if images.shape[-2:] == (self.image_size, self.image_size):
            return images
        from torchvision.transforms.v2.functional import resize

        require_memory(len(images), images.shape[1], self.image_size, type(self).__name__)
        return resize(images, [self.image_size, self.image_size])

    def _training_sets(self) -> dict[str, Examples]:
        whole, _ = self._loaded
        train, val = whole["train"], whole.get("val") if self.val_fraction else None
        if self.val_fraction and val is None:
            train, val = self._hold_out(train)
        sets = {"train": self._subset(self._keep(train))}
        if val is not None:
            sets["val"] = self._keep(val)
        return {name: self._filled(name, examples) for name, examples in sets.items()}

    def _test_sets(self) -> dict[str, Examples]:
        whole = self._loaded[0]["test"]
        sets = {"test": self._filled("test", self._keep(whole))}
        for name, images in self.ood(len(sets["test"])).items():
            sets[f"ood/{name}"] = _unlabelled(Images(self._resized(images)), torch.arange(len(images)))
        if self.classes:
            left_out = ~torch.isin(whole.labels, torch.tensor(self.classes))
            if left_out.any():
                sets["ood/left_out"] = _unlabelled(whole.images, whole.index[left_out])
        return sets

    def _hold_out(self, train: Examples) -> tuple[Examples, Examples]:
        size = round(self.val_fraction * len(train))
        held = torch.zeros(len(train), dtype=torch.bool)
        held[stratified(train.labels, size, "val", spare=1)] = True
        return train.subset(~held), train.subset(held)

    def _keep(self, examples: Examples) -> Examples:
        """The examples of the classes in use, their labels numbered anew."""
        if self.classes is None:
            return examples
        new = torch.full((len(self.names),), -1)
        new[self.classes] = torch.arange(len(self.classes))
        labels = new[examples.labels]
        return Examples(examples.images, examples.index, labels).subset(labels >= 0)

    def _subset(self, train: Examples) -> Examples:
        if self.train_size is None:
            return train
        if not isinstance(self.train_size, int) or not self.num_classes <= self.train_size <= len(train):
            raise UserError(
                f"data.train_size is {self.train_size!r}, but must be an integer from {self.num_classes}, the number "
                f"of classes, to {len(train)}, the training images that the validation split leaves."
            )
        return train.subset(stratified(train.labels, self.train_size, "train", least=1))

    def _filled(self, name: str, examples: Examples) -> Examples:
        if not len(examples):
            fix = "set data.val_fraction=0 or hold out more" if name == "val" else "check data.classes"
            raise UserError(f"The {name} set of {type(self).__name__} has no image left: {fix}.")
        return examples


def _unlabelled(images: Images, index: Tensor) -> Examples:
    return Examples(images, index, torch.full_like(index, -1))


def _class_indices(classes: list[int | str], names: Sequence[str]) -> list[int]:
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
