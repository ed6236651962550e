"""A data set as a family reads it, before any of it is chosen."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ensembles.data.examples import Examples, Pool
from ensembles.data.images import Images, require_memory, statistics

if TYPE_CHECKING:
    from ensembles.data.module import ImageDataModule

Labelled = tuple[Tensor | Pool, Tensor]  # uint8 images (N, C, H, W) or what holds them, and int64 labels (N,)


class Loaded(NamedTuple):
    """What a family reads: its official parts, and mean and deviation of the training part where it knows them."""

    train: Labelled
    test: Labelled
    val: Labelled | None = None
    statistics: tuple[list[float], list[float]] | None = None


class Whole(NamedTuple):
    """All that was read, as the network takes it.

    Attributes:
        parts: the official parts.
        statistics: mean and deviation of the training part's channels.
        native_test: the test part at its own size.
    """

    parts: dict[str, Examples]
    statistics: tuple[list[float], list[float]]
    native_test: Examples


def whole(data: "ImageDataModule", loaded: Loaded) -> Whole:
    given = {"train": loaded.train, "test": loaded.test} | ({"val": loaded.val} if loaded.val else {})
    parts = {name: examples(data, *part) for name, part in given.items()}
    pixels, labels = loaded.test
    same = isinstance(pixels, Pool) or pixels.shape == parts["test"].images.pixels.shape
    native = parts["test"] if same else Examples(Images(pixels), torch.arange(len(labels)), labels)
    return Whole(parts, loaded.statistics or statistics(parts["train"].images.pixels), native)


def examples(data: "ImageDataModule", images: Tensor | Pool, labels: Tensor) -> Examples:
    """The images as the network takes them, and their labels."""
    if isinstance(images, Tensor):
        if images.shape[-1] != data.image_size:
            require_memory(len(images), data.in_channels, data.image_size, type(data).__name__)
        images = Images(data.fitted(images))
    return Examples(images, torch.arange(len(labels)), labels)
