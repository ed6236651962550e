"""Data of one's own as torch has it: Datasets of pairs (image, label), or tensors and arrays of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ensembles.data.augment import Transform
from ensembles.data.files.decode import cover, rgb
from ensembles.data.files.progress import when_slow
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.image_files import WorkedImages
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sources import ImageSource, ImageTensor, View, channel_statistics, pixels_of
from ensembles.errors import Foreign, UserError, reason
from ensembles.limits import require
from ensembles.rng import seed_of, seeded

SMALL = 2**31  # bytes of a part that is kept in memory
TRIED = 64  # images that are read twice to see whether a data set draws at random
MEASURED = 10_000  # images over which the channels' statistics of what is not in memory are taken


@dataclass
class Pairs:
    """A tensor or an array of images with their labels, as a data set, which may be a file that is read row by row."""

    images: Sequence
    labels: Sequence

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple:
        return self.images[position], self.labels[position]


class DatasetImages(WorkedImages):
    """A data set's images, read one by one as they are asked for.

    Args:
        dataset: of pairs (image, label).
        name: what it is called in errors.
        view: what is seen of an image in evaluation.
        transform: what is seen of it in training, instead; None where that is the view.
        augment: what is done to the view in training, from what was drawn; None for nothing.
    """

    def __init__(
        self,
        dataset,
        name: str,
        view: Callable,
        transform: Transform | None = None,
        augment: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.dataset, self.of, self.view, self.transform, self.augment = dataset, name, view, transform, augment
        self.kept: list | None = None  # the images as the data set gave them
        self._shapes: dict[bool, torch.Size] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def pair(self, position: int, seed: int | None = None) -> tuple[object, object]:
        """Read an image and its label; whatever the data set draws follows from the seed, or else from the position.

        Raises:
            UserError: what is there is no pair, or the data set's own code fails.
        """
        try:
            with seeded(seed_of("read", position) if seed is None else seed):
                found = self.dataset[position]
        except UserError:
            raise
        except Exception as error:  # whatever a user's own code raises
            raise Foreign(
                f"Item {position} of {self.of} fails with {type(error).__name__}: {reason(error)}."
            ) from error
        if not isinstance(found, tuple | list) or len(found) != 2:
            kind = f"a {type(found).__name__}" + (f" of {len(found)}" if isinstance(found, tuple | list) else "")
            raise UserError(f"Item {position} of {self.of} is {kind}, but must be a pair: image, label.")
        return found

    def image(self, position: int, drawn: Tensor | None = None) -> Tensor:
        """Make an image, (C, H, W): its view, in training from what was drawn for it."""
        seed = None if drawn is None else seed_of("read", position, *drawn.tolist())
        raw = self.pair(position, seed)[0] if self.kept is None else self.kept[position]
        return self.seen(raw, position, drawn)

    def seen(self, raw: object, position: int, drawn: Tensor | None = None) -> Tensor:
        """See what the data set gave as the network does.

        Raises:
            UserError: no image, one of another size than others, or a transform that fails.
        """
        transformed = drawn is not None and self.transform is not None
        try:
            image = self.transform.changed(raw, drawn) if transformed else pixels_of(self.view(raw))
        except UserError as error:
            raise UserError(f"Item {position} of {self.of}: {error}") from error
        except Exception as error:
            raise Foreign(
                f"Item {position} of {self.of} is not transformed, {type(error).__name__}: {reason(error)}."
            ) from error
        others = self._shapes.setdefault(transformed, image.shape)
        if image.shape != others:
            sizes = ("x".join(map(str, shape)) for shape in (image.shape, others))
            raise UserError(
                f"Item {position} of {self.of} is {' and others are '.join(sizes)}: set data.image_size, or resize "
                "them in a transform."
            )
        if drawn is not None and not transformed and self.augment is not None:
            return self.augment(image[None], drawn[None])[0]
        return image

    def draws(self) -> bool:
        """Tell whether the data set itself changes its images at random: the first 64 are read twice.

        One that changes only few images, or only later ones, can look as if it did not: ``data.in_memory=false`` has
        every image read anew in each epoch.
        """
        for position in range(min(TRIED, len(self))):
            seeds = (seed_of("draws", position, time) for time in (1, 2))
            if not torch.equal(*(self.seen(self.pair(position, seed)[0], position) for seed in seeds)):
                return True
        return False


def resized(image: object, size: int) -> Image.Image:
    """Scale an image until it covers a square of so many pixels, and take its centre."""
    if not isinstance(image, Image.Image):
        image = pixels_of(image)
        if image.dtype != torch.uint8:
            raise UserError("data.image_size resizes uint8 images and PIL's: resize floats in data.eval_transform.")
        image = F.to_pil_image(image)
    return cover(image if image.mode == "L" else rgb(image), size)


def unchanged(image: object) -> object:
    """Leave an image as it is."""
    return image


class Datasets(ImageDataModule):
    """Any torch Datasets of pairs (image, label), as `ensembles.data.from_datasets` and ``data=datasets``.

    An image is PIL's, a tensor (C, H, W) or an array. Images of uint8 and PIL's are scaled to mean 0 and deviation 1
    over the training part, floats reach the network as they are. Parts that are small are kept in memory, unless the
    training set draws its images at random; then, and where they are not small, worker processes read them. Whether it
    draws is seen by reading 64 images twice: one that changes few images needs ``in_memory=False``.

    Args:
        train, test, val: Datasets with a length, or pairs of images (N, C, H, W) and labels (N,), tensors or arrays.
            Without ``val`` a stratified share ``val_fraction`` of the training images is held out.
        batch_size: examples of a training step.
        class_names: of the K classes; None for the training set's ``classes``, or else numbers.
        transform: of training images as the data set gives them, such as torchvision.transforms.v2 has; all that it
            draws follows from the seed. None for ``eval_transform``, followed by ``augment``.
        eval_transform: of all other images; None for none.
        in_memory: whether parts are kept in memory; None where they take 2 GiB at most, with ``transform`` as the data
            set gives them, else as the network takes them.
        image_size: pixels of the square to which images are scaled, unless a transform does it.
        root: the folder that holds corrupted copies.
        settings: as `ImageDataModule` takes them, such as ``val_fraction``, ``augment``, ``classes``.

    Raises:
        UserError: data of another form, images of several sizes, or labels that are none of the classes.
    """

    def __init__(
        self,
        train,
        test,
        val=None,
        *,
        batch_size: int = 128,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        transform: Callable | None = None,
        eval_transform: Callable | None = None,
        in_memory: bool | None = None,
        image_size: int | None = None,
        augment: Callable | None = None,
        root: str = "data",
        **settings,
    ) -> None:
        require("data.", image_size=image_size, in_memory=in_memory)
        if transform is not None and augment is not None:
            raise UserError("data.transform is all that training images get: set data.augment=null, or leave it out.")
        for key, given in {"transform": transform, "eval_transform": eval_transform}.items():
            if given is not None and not callable(given):
                raise UserError(f"data.{key} is {given!r}, but must be a function of an image.")
        self._view = eval_transform or (partial(resized, size=image_size) if image_size else unchanged)
        parts = {"train": train, "val": val, "test": test}
        images = {
            name: DatasetImages(_dataset(given, name), f"data.{name}", self._view)
            for name, given in parts.items()
            if given is not None
        }
        first = images["test"].image(0)
        self._form = _form(first)
        self.in_channels, self.native_size, width = first.shape
        if width != self.native_size:
            raise UserError(
                f"The images of data.test are {self.native_size}x{width} pixels, not square: set data.image_size, or "
                "resize them in a transform."
            )
        self.floats = first.is_floating_point()
        draws = images["train"].draws()
        if transform is not None:
            augment = images["train"].transform = Transform(transform)
        self._parts = {name: self._part(one, in_memory, name == "train" and draws) for name, one in images.items()}
        if augment is None and not isinstance(self._parts["train"].images, ImageTensor):
            augment = unchanged  # so that seeds are drawn for what the data set may draw
        self.names = self._names(class_names, images["train"].dataset)
        for part, one in zip(self._parts.values(), images.values(), strict=True):
            self._require_labels(one.of, part.labels)
        super().__init__(batch_size, seed, root=root, image_size=self.native_size, augment=augment, **settings)
        images["train"].augment = self.augment
        if self.floats and self.corrupted.source is not None:
            raise UserError(
                "data.corrupted needs images of uint8 or PIL's, and these are floats: set data.corrupted.source=null."
            )

    @property
    def view(self) -> View:
        """What is seen of an image file of another set: what is seen of the test images."""
        return super().view if self._view is unchanged else self._view

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel, on the scale of [0, 1]; floats stay as they are."""
        if self.floats:
            return [0.0] * self.in_channels, [1.0] * self.in_channels
        images = self._parts["train"].images
        if isinstance(images, ImageTensor):
            return channel_statistics(images.pixels)
        some = torch.linspace(0, len(images) - 1, min(len(images), MEASURED)).long()
        return channel_statistics(images.gather(some))

    def load(self) -> dict[str, LabelledSet]:
        return self._parts

    def _part(self, images: DatasetImages, in_memory: bool | None, draws: bool) -> LabelledSet:
        """Read a part's labels, and its images into memory where they are small and always the same."""
        count, one = len(images), images.image(0)
        if _form(one) != self._form:
            raise UserError(
                f"The images of {images.of} are {_form(one)} and those of data.test {self._form}: have them alike, by "
                "data.image_size or data.eval_transform."
            )
        size = one.nbytes if images.transform is None else _raw_bytes(images.pair(0)[0])
        keep = not draws and (size * count <= SMALL if in_memory is None else in_memory)
        targets = getattr(images.dataset, "targets", None)
        changed = getattr(images.dataset, "target_transform", None) is not None
        if not keep and targets is not None and len(targets) == count and not changed:
            return LabelledSet(images, torch.tensor([_label(t, i, images.of) for i, t in enumerate(targets)]))
        source: ImageSource = images
        if keep and images.transform is None:
            pixels = torch.empty(count, *one.shape, dtype=one.dtype)
            source = ImageTensor(pixels)
        kept, labels = [], []
        for position in when_slow(((1, i) for i in range(count)), count, f"Reading {images.of}"):
            raw, label = images.pair(position)
            labels.append(_label(label, position, images.of))
            if source is not images:
                pixels[position] = images.seen(raw, position)
            elif keep:
                kept.append(raw)
        images.kept = kept if keep and source is images else None
        return LabelledSet(source, torch.tensor(labels))

    def _names(self, given: Sequence[str] | None, train) -> list[str]:
        count = int(self._parts["train"].labels.max()) + 1
        names = given if given is not None else getattr(train, "classes", None)
        if given is None and (names is None or isinstance(names, str) or len(names) < count):
            names = range(count)
        if len(names) < 2:
            raise UserError("The labels of data.train are of one class only, but a classifier needs two or more.")
        return [str(name) for name in names]

    def _require_labels(self, of: str, labels: Tensor) -> None:
        wrong = ((labels < 0) | (labels >= len(self.names))).nonzero()
        if len(wrong):
            position = int(wrong[0])
            raise UserError(
                f"The label of item {position} of {of} is {labels[position]}, but the classes are 0 to "
                f"{len(self.names) - 1}: mend it, or name all classes with data.class_names."
            )


from_datasets = Datasets


def _raw_bytes(image: object) -> int:
    return np.asarray(image).nbytes if isinstance(image, Image.Image) else getattr(image, "nbytes", 0)


def _form(image: Tensor) -> str:
    return f"{'floats' if image.is_floating_point() else 'uint8'} of {'x'.join(map(str, image.shape))}"


def _dataset(given: object, name: str):
    """Take what is given as a data set with a length.

    Raises:
        UserError: something else.
    """
    if isinstance(given, tuple | list) and len(given) == 2 and all(hasattr(part, "shape") for part in given):
        images, labels = given
        if len(images) != len(labels):
            raise UserError(f"data.{name} has {len(images)} images and {len(labels)} labels: give each image one.")
        given = Pairs(images, labels)
    if isinstance(given, str | Path | dict) or not hasattr(given, "__getitem__"):
        written = isinstance(given, str | dict | Path) and len(repr(given)) < 60
        shown = repr(given) if written else type(given).__name__
        raise UserError(
            f"data.{name} is {shown}, but must be a torch Dataset or a pair of tensors or arrays: in a config, "
            f"data.{name}={{_target_: mine.dataset, its settings}}."
        )
    try:
        count = len(given)
    except (TypeError, NotImplementedError) as error:
        raise UserError(f"data.{name} has no length: give a Dataset that has, __len__ and __getitem__.") from error
    if not count:
        raise UserError(f"data.{name} holds no image: give it one for each class or more.")
    return given


def _label(value: object, position: int, of: str) -> int:
    number = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(number, bool) or not isinstance(number, int):
        shown = repr(number) if isinstance(number, str | int | float) else f"a {type(number).__name__}"
        raise UserError(f"The label of item {position} of {of} is {shown}, but must be an integer from 0.")
    return number
