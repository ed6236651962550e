"""Image files that are decoded as they are asked for, by worker processes: sets that are too large for memory."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ensembles.data.examples import Pool
from ensembles.data.files.decode import read
from ensembles.data.loaders import Picks
from ensembles.data.parcels import Parcel, pack, unpack
from ensembles.errors import UserError
from ensembles.orphans import end_with_parent
from ensembles.processes import starting

PATIENCE = 10  # seconds in which the program may still need images after its machine has been asked back

View = Callable[[Image.Image], Image.Image]  # an RGB image of any size to a square


class Files(Pool):
    """A pool of image files.

    Args:
        paths: the files.
        view: what is seen of an image, as a square of always the same size.
        augmented: the same in training, given what an augmentation drew for the image; None where there is none.
        border: pixels on each side that are no part of the image.
        skip_broken: whether in training another image of its batch stands in for one that cannot be decoded.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        view: View,
        augmented: Callable[[Image.Image, Tensor], Image.Image] | None = None,
        border: int = 0,
        skip_broken: bool = False,
    ) -> None:
        self.paths = np.array([os.fsencode(path) for path in paths])  # one object: a million would be copied on fork
        self.view, self.augmented, self.border = view, augmented, border
        self.skip_broken = skip_broken
        self.broken: set[str] = set()

    def __len__(self) -> int:
        return len(self.paths)

    def gather(self, index: Tensor, drawn: Tensor | None = None) -> Tensor:
        """The images at ``index`` (B,), as uint8 (B, C, H, W); in training with what was ``drawn`` for each.

        Raises:
            UserError: a file that is no whole image.
        """
        if not len(index):
            return self.gather(torch.zeros(1, dtype=torch.int64))[:0]
        squares = []
        for number, position in enumerate(index.tolist()):
            image = read(Path(os.fsdecode(self.paths[position])))
            if self.border:
                image = ImageOps.crop(image, self.border)
            image = self.view(image) if drawn is None else self.augmented(image, drawn[number])
            squares.append(torch.from_numpy(np.array(image)).view(*reversed(image.size), -1))
        return torch.stack(squares).movedim(-1, 1).contiguous()

    def __getitem__(self, picks: Picks) -> "Picks | UserError":
        try:
            return picks._replace(pixels=self.gather(picks.index, picks.drawn))
        except UserError as error:  # raised in a worker, it would arrive wrapped in a traceback
            return self._without_broken(picks) if self.skip_broken and picks.set == "train" else error

    def _without_broken(self, picks: Picks) -> "Picks | UserError":
        images, broken, error = [], [], None
        for u, position in enumerate(picks.index.tolist()):
            try:
                drawn = None if picks.drawn is None else picks.drawn[u : u + 1]
                images.append(self.gather(picks.index[u : u + 1], drawn)[0])
            except UserError as failure:
                error = failure
                images.append(None)
                broken.append(os.fsdecode(self.paths[position]))
        sound = [u for u, image in enumerate(images) if image is not None]
        if not sound:
            return error
        stand_in = torch.tensor([u if images[u] is not None else sound[u % len(sound)] for u in range(len(images))])
        pixels = torch.stack([images[u] for u in stand_in.tolist()])
        return picks.with_stand_ins(stand_in)._replace(pixels=pixels, broken=tuple(broken))

    def feed(self, loader: Iterable, workers: int) -> "Fed":
        return Fed(self, loader, workers)


class Fed:
    """A loader's batches, in its order, with their images decoded ahead by worker processes."""

    def __init__(self, files: Files, loader: Iterable, workers: int) -> None:
        self.files, self.loader = files, loader
        self.decoding = DataLoader(
            _Decoding(files),
            sampler=_Orders(loader),  # a batch of picks is what a worker is given to do
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            worker_init_fn=_prepare,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else each pass would draw from the program's own
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Picks]:
        first = self.loader.first
        with starting(instead="set data.num_workers=0"):
            batches = iter(self.decoding)
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


class _Orders:
    """A loader's batches, packed."""

    def __init__(self, loader: Iterable) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Parcel]:
        return map(pack, self.loader)


class _Decoding(Dataset):
    """What a worker makes of a packed batch: the same with its images, or what is wrong with one of them."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, order: Parcel) -> Parcel:
        return pack(self.files[unpack(order)])


def _as_it_is(parcel: Parcel) -> Parcel:
    return parcel


def _prepare(worker: int) -> None:
    """A cluster sends SIGTERM to all of a job's processes at once, and the program needs images until it has saved."""
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))
