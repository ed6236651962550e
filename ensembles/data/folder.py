"""The user's own image files, listed by a folder with ``train/<class>/`` and ``test/<class>/``, or by CSVs."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ensembles.data.files.decode import decode, read_cache, size_of, write_cache
from ensembles.data.files.fingerprint import Listing, digest, scan, scan_tables
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sources import channel_statistics, require_memory
from ensembles.errors import UserError
from ensembles.limits import require


class ListedImages(ImageDataModule):
    """Any image files, as RGB; they are decoded in parallel once and kept in ``cache_dir``.

    Args:
        listing: the files by split and class.
        listed_by: the folder or the file that lists the images.
        folders: by split, the folder that files' paths are relative to.
        where: how the command line names it, for errors.
        cache_dir: where the decoded images are kept.
        image_size: images are scaled to cover a square of so many pixels, and its centre is taken; None where all have
            one size and are square.

    Raises:
        UserError: a file that is no image, or images too many for memory.
    """

    in_channels = 3

    def __init__(
        self,
        batch_size: int,
        seed: int,
        listing: Listing,
        listed_by: Path,
        folders: Mapping[str, Path],
        where: str,
        *,
        cache_dir: str = "cache",
        image_size: int | None = None,
        sets_root: str | None = "data",
        **settings,
    ) -> None:
        require("data.", image_size=image_size)
        self.listing, self.listed_by, self.where = listing, listed_by, where
        self.paths = {
            split: [folders[split] / file.path for files in classes.values() for file in files]
            for split, classes in listing.items()
        }
        self.cache_dir = Path(cache_dir).expanduser()
        self.names = list(listing["train"])
        self.resizes = image_size is not None
        self.native_size = image_size or self._common_size()
        super().__init__(batch_size, seed, image_size=image_size, sets_root=sets_root, **settings)

    @property
    def usual_corrupted_folder(self) -> Path:
        """Beside what lists the images."""
        return self.listed_by.with_name(f"{self.listed_by.name}-C")

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel, which are kept beside the decoded images."""
        return self._decoded[1]

    def load(self) -> dict[str, LabelledSet]:
        return self._decoded[0]

    @cached_property
    def _decoded(self) -> tuple[dict[str, LabelledSet], tuple[list[float], list[float]]]:
        """The parts, and mean and deviation of the training images' channels."""
        paths = [path for some in self.paths.values() for path in some]
        shape = (len(paths), self.in_channels, self.image_size, self.image_size)
        key = digest(self.listing, self.image_size, self.resizes, times=True)
        path = self.cache_dir / f"{self.listed_by.resolve().name}-{key[:16]}.npz"
        cached = read_cache(path, shape)
        if cached is None:
            require_memory(len(paths), self.in_channels, self.image_size, self.where)
            images = decode(paths, self.image_size, self.resizes, self.num_workers)
            mean, std = channel_statistics(torch.from_numpy(images[: len(self.paths["train"])]))
            write_cache(path, images=images, mean=mean, std=std)
        else:
            images, mean, std = cached["images"], cached["mean"].tolist(), cached["std"].tolist()
        parts = torch.from_numpy(images).split(list(map(len, self.paths.values())))
        sets = {split: LabelledSet(part, self._labels(split)) for split, part in zip(self.paths, parts, strict=True)}
        return sets, (mean, std)

    def _labels(self, split: str) -> Tensor:
        classes = self.listing[split]
        numbers = torch.tensor([self.names.index(name) for name in classes])
        return numbers.repeat_interleave(torch.tensor([len(files) for files in classes.values()]))

    def _common_size(self) -> int:
        """Read the size of the first image, which all others have, as decoding checks."""
        path = self.paths["train"][0]
        width, height = size_of(path)
        if width != height:
            raise UserError(f"The image {path} is {width}x{height} pixels, not square: set data.image_size to resize.")
        return width


class ImageFolder(ListedImages):
    """A folder with ``train/<class>/``, ``test/<class>/`` and, if wanted, ``val/<class>/``; see `ListedImages`.

    Args:
        root: the folder.

    Raises:
        UserError: a folder that does not hold what it must.
    """

    def __init__(self, batch_size: int, seed: int = 0, *, root: str | None, **settings) -> None:
        listing = scan(root)
        folder = Path(root).expanduser()
        folders = dict.fromkeys(listing, folder)
        super().__init__(batch_size, seed, listing, folder, folders, f"data.root={folder}", root=root, **settings)


class ImageTable(ListedImages):
    """CSVs of paths, relative to the CSV, and labels; see `ListedImages`.

    Args:
        train, test, val: the CSVs; without ``val`` a stratified share of the training images is held out.
        path_column, label_column: names of their columns.
        class_names: the classes, which integer labels then number; None for the training labels themselves.

    Raises:
        UserError: a CSV that is missing or lacks a column, a file that does not exist, or a label of no class.
    """

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        *,
        train: str | None,
        test: str | None,
        val: str | None = None,
        path_column: str = "path",
        label_column: str = "label",
        class_names: Sequence[str] | None = None,
        **settings,
    ) -> None:
        tables = {"train": train, "val": val, "test": test}
        listing = scan_tables(tables, path_column, label_column, class_names)
        folders = {split: Path(table).expanduser().parent for split, table in tables.items() if table is not None}
        where = f"data.train={train} and data.test={test}"
        super().__init__(batch_size, seed, listing, Path(test).expanduser(), folders, where, **settings)
