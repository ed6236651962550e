"""The user's own images: a folder with ``train/<class>/``, ``test/<class>/`` and, if wanted, ``val/<class>/``."""

from pathlib import Path

import torch
from torch import Tensor

from ensembles.data.files.decode import decode, read_cache, size_of, write_cache
from ensembles.data.files.fingerprint import digest, scan
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sources import channel_statistics, require_memory
from ensembles.errors import UserError
from ensembles.limits import require


class ImageFolder(ImageDataModule):
    """Any image files, as RGB; they are decoded in parallel once and kept in ``cache_dir``.

    Args:
        root: the folder.
        cache_dir: where the decoded images are kept.
        image_size: images are scaled to cover a square of so many pixels, and its centre is taken; None where all have
            one size and are square.

    Raises:
        UserError: a folder that does not hold what it must, a file that is no image, or images too many for memory.
    """

    in_channels = 3

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        *,
        root: str | None,
        cache_dir: str = "cache",
        image_size: int | None = None,
        sets_root: str | None = "data",
        **settings,
    ) -> None:
        require("data.", image_size=image_size)
        self.listing = scan(root)
        self.root, self.cache_dir = Path(root).expanduser(), Path(cache_dir).expanduser()
        self.names = list(self.listing["train"])
        self.resizes = image_size is not None
        self.native_size = image_size or self._common_size()
        super().__init__(batch_size, seed, root=root, image_size=image_size, sets_root=sets_root, **settings)

    @property
    def corrupted_folder(self) -> Path:
        """Beside the folder itself, unless another is set."""
        return super().corrupted_folder if self.corrupted.root else self.root.with_name(f"{self.root.name}-C")

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """They are kept beside the decoded images."""
        self._official  # noqa: B018
        return self._statistics

    def load(self) -> dict[str, LabelledSet]:
        files = [file for classes in self.listing.values() for files in classes.values() for file in files]
        shape = (len(files), self.in_channels, self.image_size, self.image_size)
        key = digest(self.listing, self.image_size, self.resizes, times=True)
        folder = self.cache_dir / f"{self.root.resolve().name}-{key[:16]}"
        cached = read_cache(folder, shape)
        if cached is None:
            require_memory(len(files), self.in_channels, self.image_size, f"data.root={self.root}")
            paths = [self.root / file.path for file in files]
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
        path = self.root / next(iter(self.listing["train"].values()))[0].path
        width, height = size_of(path)
        if width != height:
            raise UserError(f"The image {path} is {width}x{height} pixels, not square: set data.image_size to resize.")
        return width
