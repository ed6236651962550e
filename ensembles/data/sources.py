"""Where images are kept, and the batches that are asked of them: indices first, which travel until images fill them in.

Image files, which worker processes decode, are in `ensembles.data.image_files`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ensembles import memory
from ensembles.data.files.decode import rgb
from ensembles.data.mixing import MixDraw
from ensembles.errors import UserError, reason

DEVICE_SHARE = 0.25  # of a device's free memory that images may take

View = Callable[[Image.Image], Image.Image]  # an RGB image of any size to a square


class MixedPairs(NamedTuple):
    """How the images of a batch are mixed before they are dealt.

    Attributes:
        own: (D,) positions in the batch's images; None where they are 0, 1, 2, ...
        partner: (D,) positions of what each is mixed with.
        labels: (U,) of the batch's images.
        drawn: what was drawn for the step.
    """

    own: Tensor | None
    partner: Tensor
    labels: Tensor
    drawn: MixDraw


class BatchIndices(NamedTuple):
    """A batch before its images are in it.

    Attributes:
        set: the name of its labelled set.
        index: (U,) the images that it shows, in the set's source.
        labels: (B,) or (M, B).
        drawn: (U, P) what the augmentation drew for each, or None.
        where: (B,) or (M, B) positions in ``index``, or in what is mixed; None where they are 0, 1, 2, ...
        start: the position of its first example in its set.
        mixed: how its images are mixed, or None.
        pixels: (U, C, H, W) its images, where they have been decoded already.
        broken: files of images that could not be decoded and that others stand in for.
    """

    set: str
    index: Tensor
    labels: Tensor
    drawn: Tensor | None = None
    where: Tensor | None = None
    start: int = 0
    mixed: MixedPairs | None = None
    pixels: Tensor | None = None
    broken: tuple[str, ...] = ()

    def with_stand_ins(self, stand_in: Tensor) -> "BatchIndices":
        """Show image ``stand_in[u]``, with its label, wherever image u was to be; (U,)."""
        if self.mixed is not None:
            own, partner = self.mixed.own, self.mixed.partner
            own = stand_in if own is None else stand_in[own]
            return self._replace(mixed=self.mixed._replace(own=own, partner=stand_in[partner]))
        where = torch.arange(self.labels.numel()).view_as(self.labels) if self.where is None else self.where
        labels = self.labels.new_empty(len(stand_in))
        labels[where.flatten()] = self.labels.flatten()
        where = stand_in[where]
        return self._replace(where=where, labels=labels[where])


class ImageSource(ABC):
    """N images that several labelled sets share.

    Attributes:
        features: of points, (N, D).
    """

    features: Tensor | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def gather(self, index: Tensor) -> Tensor:
        """Return the images at ``index`` (B,), as uint8 (B, C, H, W) on the index's device."""

    def fit(self, size: int, channels: int, view: View) -> "ImageSource":
        """Return the same images as a network takes them: of so many pixels a side, or files by their view."""
        return self

    def prefetch(self, loader: Iterable[BatchIndices], workers: int) -> Iterable[BatchIndices]:
        """Return the loader's batches, with what takes long already done to them in worker processes."""
        return loader


class ImageTensor(ImageSource):
    """Uint8 images (N, C, H, W) in memory.

    They move to the device that asks for a batch, once, where they take a quarter of the free memory at most; else
    batches are gathered on the CPU.
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self._too_small: set[torch.device] = set()

    def __len__(self) -> int:
        return len(self.pixels)

    def gather(self, index: Tensor) -> Tensor:
        device = index.device
        if self.pixels.device != device and device not in self._too_small:
            if self._fits(device):
                self.pixels = self.pixels.to(device)
            else:
                self._too_small.add(device)
        return self.pixels.index_select(0, index.to(self.pixels.device)).to(device)

    def fit(self, size: int, channels: int, view: View) -> "ImageTensor":
        fitted = resize(self.pixels, size, channels)
        return self if fitted is self.pixels else ImageTensor(fitted)

    def _fits(self, device: torch.device) -> bool:
        memory = getattr(torch.get_device_module(device), "mem_get_info", None)
        return memory is None or self.pixels.nbytes <= DEVICE_SHARE * memory(device)[0]


class ImageArray(ImageSource):
    """Images of the official ``.npy`` layout (N, H, W, C), of which a batch is read from disk when it is asked for.

    Args:
        shape: pixels a side and channels that they are resized to; None leaves them as they are.
    """

    def __init__(self, array: np.ndarray, shape: tuple[int, int] | None = None) -> None:
        self.array, self.shape = array, shape

    def __len__(self) -> int:
        return len(self.array)

    def gather(self, index: Tensor) -> Tensor:
        rows = torch.from_numpy(np.asarray(self.array[index.cpu().numpy()]))
        images = rows.to(index.device).movedim(-1, 1).contiguous()
        return images if self.shape is None else resize(images, *self.shape)


def pixels_of(image: object) -> Tensor:
    """Take an image of PIL's, a tensor (C, H, W) or (H, W) or an array as (C, H, W): uint8, or floats as they are.

    An array's channels are its first axis where that has 1 or 3 entries, else its last.

    Raises:
        UserError: something else, or an image of PIL's of 32 bits.
    """
    if isinstance(image, Image.Image):
        image = torch.from_numpy(np.array(image if image.mode == "L" else rgb(image)))
        image = image.movedim(-1, 0) if image.dim() == 3 else image
    if isinstance(image, np.ndarray) and image.dtype.kind in "fu":
        image = torch.from_numpy(np.array(image, image.dtype.newbyteorder("=")))
        image = image.movedim(-1, 0) if image.dim() == 3 and len(image) not in (1, 3) else image
    if not isinstance(image, Tensor):
        kind = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise UserError(f"an image is {kind}, but must be PIL's, a tensor or an array, of uint8 or floats.")
    if image.dim() not in (2, 3) or not (image.dtype == torch.uint8 or image.is_floating_point()):
        kind = str(image.dtype).removeprefix("torch.")
        raise UserError(f"an image is {kind} {tuple(image.shape)}, but must be uint8 or floats of shape (C, H, W).")
    image = image if image.dim() == 3 else image[None]
    return image if image.dtype == torch.uint8 else image.float()


def resize(images: Tensor, size: int, channels: int) -> Tensor:
    """Resize uint8 images (N, C, H, W) to so many pixels a side and channels: grey from colour, colour from grey."""
    from torchvision.transforms.v2 import functional as F

    if images.shape[1] != channels:
        images = F.rgb_to_grayscale(images) if channels == 1 else images.expand(-1, channels, -1, -1)
    return images if images.shape[-2:] == (size, size) else F.resize(images, [size, size])


def map_array(path: Path, shape: tuple[int | None, ...], integers: bool = False) -> np.ndarray:
    """Map an array's file into memory; it is not read, and nothing that it carries is run.

    Args:
        shape: what it must have; None where any length is right.
        integers: whether any integers will do; else it must be uint8.

    Raises:
        UserError: a file that is missing, truncated, pickled, or of another shape or type.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}: put the official file there or write it again.") from error
    except (OSError, ValueError, EOFError) as error:
        is_pickled = any(word in str(error) for word in ("pickle", "Python objects"))
        why = "it is pickled or no array" if is_pickled else f"it is truncated or damaged ({reason(error)})"
        raise UserError(f"{path} was not loaded, since {why}: delete it and have it replaced.") from error
    right_type = isinstance(array, np.ndarray) and (array.dtype.kind in "iu" if integers else array.dtype == np.uint8)
    fits = right_type and array.ndim == len(shape)
    if not fits or any(wanted not in (None, length) for wanted, length in zip(shape, array.shape, strict=True)):
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        wanted = tuple("any" if length is None else length for length in shape)
        raise UserError(
            f"{path} holds {found}, but must hold {'integers' if integers else 'uint8'} of shape {wanted}: "
            "put the right file there."
        )
    return array


def channel_statistics(pixels: Tensor) -> tuple[list[float], list[float]]:
    """Compute the channels' means and standard deviations of uint8 images (N, C, H, W), on the scale of [0, 1].

    They come from the channels' histograms, in integers, so they do not depend on the order of summation.
    """
    means, deviations = [], []
    for channel in pixels.transpose(0, 1):
        counts = torch.bincount(channel.flatten(), minlength=256).tolist()
        n, first, second = (sum(count * value**power for value, count in enumerate(counts)) for power in range(3))
        means.append(first / n / 255)
        deviations.append(max(((n * second - first**2) / n**2) ** 0.5, 1.0) / 255)  # a constant channel stays finite
    return means, deviations


def require_memory(number: int, channels: int, size: int, where: object) -> None:
    """Check that so many images can be held in memory.

    Raises:
        UserError: they take more than `memory.require_room` lets them.
    """
    what = f"The {number} images of {where} at {size}x{size} pixels"
    memory.require_room(number * channels * size**2, what, "set a smaller data.image_size")
