"""The user's own image files, listed by a folder with ``train/<class>/`` and ``test/<class>/``, or by CSVs."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ensembles.data.files.decode import decode, read_cache, size_of, write_cache
from ensembles.data.files.fingerprint import File, Listing, digest, scan, scan_tables
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sources import channel_statistics, require_memory
from ensembles.errors import UserError
from ensembles.limits import require


class ListedImages(ImageDataModule):
    """Any image files, as RGB; they are decoded in parallel once and kept in ``cache_dir``.

    Args:
        listing: of their splits and classes.
        where: what lists them, for errors.
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
        where: str,
        *,
        cache_dir: str = "cache",
        image_size: int | None = None,
        sets_root: str | None = "data",
        **settings,
    ) -> None:
        require("data.", image_size=image_size)
        self.listing, self.where = listing, where
        self.cache_dir = Path(cache_dir).expanduser()
        self.names = list(listing["train"])
        self.resizes = image_size is not None
        self.native_size = image_size or self._common_size()
        super().__init__(batch_size, seed, image_size=image_size, sets_root=sets_root, **settings)

    @property
    def place(self) -> Path:
        """The folder or file that lists the images."""
        raise NotImplementedError

    def path_of(self, split: str, file: File) -> Path:
        """Say where a listed file of a split is."""
        raise NotImplementedError

    @property
    def corrupted_folder(self) -> Path:
        """Beside what lists the images, unless another is set."""
        return super().corrupted_folder if self.corrupted.root else self.place.with_name(f"{self.place.name}-C")

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """They are kept beside the decoded images."""
        self._official  # noqa: B018
        return self._statistics

    def load(self) -> dict[str, LabelledSet]:
        paths = [
            self.path_of(split, file)
            for split, classes in self.listing.items()
            for files in classes.values()
            for file in files
        ]
        shape = (len(paths), self.in_channels, self.image_size, self.image_size)
        key = digest(self.listing, self.image_size, self.resizes, times=True)
        folder = self.cache_dir / f"{self.place.resolve().name}-{key[:16]}"
        cached = read_cache(folder, shape)
        if cached is None:
            require_memory(len(paths), self.in_channels, self.image_size, self.where)
            images = decode(paths, self.image_size, self.resizes, self.num_workers)
            mean, std = channel_statistics(torch.from_numpy(images[: self._sizes()["train"]]))
            write_cache(folder, images, {"mean": mean, "std": std})
        else:
            images, notes = cached
            mean, std = notes["mean"], notes["std"]
        self._statistics = mean, std
        parts = torch.from_numpy(images).split(list(self._sizes().values()))
        return {split: LabelledSet(part, self._labels(split)) for split, part in zip(self.listing, parts, strict=True)}

    def _sizes(self) -> dict[str, int]:
        return {split: sum(map(len, classes.values())) for split, classes in self.listing.items()}

    def _labels(self, split: str) -> Tensor:
        classes = self.listing[split]
        numbers = torch.tensor([self.names.index(name) for name in classes])
        return numbers.repeat_interleave(torch.tensor([len(files) for files in classes.values()]))

    def _common_size(self) -> int:
        """The size that the first image has, and, as decoding checks, all others."""
        path = self.path_of("train", next(files[0] for files in self.listing["train"].values() if files))
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
        self.root = Path(root).expanduser()
        super().__init__(batch_size, seed, listing, f"data.root={self.root}", root=root, **settings)

    @property
    def place(self) -> Path:
        return self.root

    def path_of(self, split: str, file: File) -> Path:
        return self.root / file.path


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
        self.tables = {split: Path(table).expanduser() for split, table in tables.items() if table is not None}
        super().__init__(batch_size, seed, listing, f"data.train={train} and data.test={test}", **settings)

    @property
    def place(self) -> Path:
        return self.tables["test"]

    def path_of(self, split: str, file: File) -> Path:
        return self.tables[split].parent / file.path
