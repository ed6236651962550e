"""Image files that are decoded as they are asked for, by worker processes: sets that are too large for memory.

A batch goes to a worker and back as bytes, and its images through shared memory where that has room for them. A loader
of torch's would put all tensors there, and where one does not fit it waits for it for ever.
"""

import io
import os
import pickle
import signal
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from ensembles.data.files.decode import open_rgb
from ensembles.data.sources import BatchIndices, ImageSource, View, pixels_of
from ensembles.errors import UserError
from ensembles.processes import end_with_parent, starting

PATIENCE = 10  # seconds in which the program may still need images after its machine has been asked back
SHARED_MEMORY = "/dev/shm"
RESERVE = 2**20  # bytes of it that are left to others

Packed = tuple[bytes, Tensor | None]  # a batch or an error, and the batch's images where they are in shared memory


class WorkedImages(ImageSource):
    """Images that worker processes make, one by one, as they are asked for.

    Attributes:
        skip_broken: whether in training another image of its batch stands in for one that cannot be made.
        broken: names of those for which that was so.
    """

    skip_broken = False

    def __init__(self) -> None:
        self.broken: set[str] = set()

    @abstractmethod
    def image(self, position: int, drawn: Tensor | None) -> Tensor:
        """Make an image, (C, H, W), in training from what was ``drawn`` for it.

        Raises:
            UserError: it cannot be made.
        """

    def name(self, position: int) -> str:
        """Say which image it is."""
        return str(position)

    def gather(self, index: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Make the images at ``index`` (B,), (B, C, H, W); in training with what was ``drawn`` for each.

        Raises:
            UserError: one that cannot be made.
        """
        if not len(index):
            return self.gather(torch.zeros(1, dtype=torch.int64))[:0]
        made = None
        for number, position in enumerate(index.tolist()):
            image = self.image(position, None if drawn is None else drawn[number])
            if made is None:  # channels last, as files are decoded
                made = torch.empty(len(index), *image.shape[1:], len(image), dtype=image.dtype).movedim(-1, 1)
            made[number] = image
        return made

    def prefetch(self, loader: Iterable[BatchIndices], workers: int) -> "PrefetchLoader":
        return PrefetchLoader(self, loader, workers)

    def __getitem__(self, packed: Packed) -> Packed:
        """Fill the images into a packed batch, or say what is wrong with one of them: a worker's part."""
        batch = unpack(packed)
        try:
            return pack(batch._replace(pixels=self.gather(batch.index, batch.drawn)))
        except UserError as error:  # raised in a worker, it would arrive wrapped in a traceback
            return pack(self._without_broken(batch) if self.skip_broken and batch.set == "train" else error)

    def _without_broken(self, batch: BatchIndices) -> BatchIndices | UserError:
        images, broken, error = [], [], None
        for u, position in enumerate(batch.index.tolist()):
            try:
                drawn = None if batch.drawn is None else batch.drawn[u : u + 1]
                images.append(self.gather(batch.index[u : u + 1], drawn)[0])
            except UserError as failure:
                error = failure
                images.append(None)
                broken.append(self.name(position))
        sound = [u for u, image in enumerate(images) if image is not None]
        if not sound:
            return error
        stand_in = torch.tensor([u if images[u] is not None else sound[u % len(sound)] for u in range(len(images))])
        pixels = torch.stack([images[u] for u in stand_in.tolist()])
        return batch.with_stand_ins(stand_in)._replace(pixels=pixels, broken=tuple(broken))


class ImageFiles(WorkedImages):
    """Image files.

    Args:
        paths: the files.
        view: what is seen of an image, as a square of always the same size; None where a data module has yet to say.
        augmented: the same in training, given what an augmentation drew for the image; None where there is none.
        border: pixels on each side that are no part of the image.
        skip_broken: whether in training another image of its batch stands in for one that cannot be decoded.
    """

    def __init__(
        self,
        paths: Sequence[str | Path] | np.ndarray,
        view: View | None = None,
        augmented: Callable[[Image.Image, Tensor], Image.Image] | None = None,
        border: int = 0,
        skip_broken: bool = False,
    ) -> None:
        super().__init__()
        self.paths = np.array([os.fsencode(path) for path in paths])  # one object: a million would be copied on fork
        self.view, self.augmented, self.border = view, augmented, border
        self.skip_broken = skip_broken

    def __len__(self) -> int:
        return len(self.paths)

    def fit(self, size: int, channels: int, view: View) -> "ImageFiles":
        return self if self.view else ImageFiles(self.paths, view, border=self.border)

    def image(self, position: int, drawn: Tensor | None) -> Tensor:
        """Decode an image, uint8 (C, H, W)."""
        image = open_rgb(Path(self.name(position)))
        if self.border:
            image = ImageOps.crop(image, self.border)
        return pixels_of(self.view(image) if drawn is None else self.augmented(image, drawn))

    def name(self, position: int) -> str:
        """Say which file it is."""
        return os.fsdecode(self.paths[position])


class PrefetchLoader:
    """A loader's batches, in its order, with their images decoded ahead by worker processes."""

    def __init__(self, files: WorkedImages, loader: Iterable[BatchIndices], workers: int) -> None:
        self.files, self.loader, self.workers = files, loader, workers

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[BatchIndices]:
        first = self.loader.first
        decoding = DataLoader(
            self.files,
            sampler=map(pack, self.loader),  # a packed batch is what a worker is given to do
            batch_size=None,
            num_workers=self.workers,
            worker_init_fn=_prepare_worker,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else each pass would draw from the program's own
        )
        with starting(instead="set data.num_workers=0"):
            batches = iter(decoding)
        try:
            for number in range(first + 1, len(self) + 1):
                batch = unpack(next(batches))
                if isinstance(batch, UserError):
                    raise batch
                self.files.broken.update(batch.broken)
                if number == len(self):
                    batches = None  # ends the workers now: who counts the batches does not ask for one more
                yield batch
        finally:
            batches = None


def pack(batch: BatchIndices | UserError) -> Packed:
    """Pickle a batch, or what is wrong with it, but for its images if they fit into shared memory."""
    pixels = getattr(batch, "pixels", None)
    shared = pixels is not None and _moved_to_shared_memory(pixels)
    content = io.BytesIO()
    _Pickler(content, protocol=5).dump(batch._replace(pixels=None) if shared else batch)
    return content.getvalue(), pixels if shared else None


def unpack(packed: Packed) -> BatchIndices | UserError:
    """Return what was packed."""
    content, pixels = packed
    batch = pickle.loads(content)
    return batch if pixels is None else batch._replace(pixels=pixels)


class _Pickler(pickle.Pickler):
    """Pickles a tensor as its numbers; torch would add all those of which it is a part."""

    def reducer_override(self, value: object):
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def _moved_to_shared_memory(pixels: Tensor) -> bool:
    try:
        free = os.statvfs(SHARED_MEMORY)
        if free.f_bavail * free.f_frsize < pixels.nbytes + RESERVE:
            return False
    except OSError:  # a system that has it elsewhere, or not at all
        pass
    try:
        pixels.share_memory_()
    except RuntimeError:  # another process was faster
        return False
    return True


def _prepare_worker(worker: int) -> None:
    """End with the program, but not at once by a SIGTERM, which a cluster sends to all of a job's processes: images are
    needed until the program has saved.
    """
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))
