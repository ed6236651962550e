"""CIFAR-10 and CIFAR-100 from their official files, as torchvision reads them: checked by MD5, downloaded once."""

import os
import socket
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity, extract_archive

from ensembles.data.module import ImageDataModule, Labelled, Loaded
from ensembles.errors import UserError

PATIENCE = 30.0  # seconds without an answer after which a download is given up
CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""


class CIFAR10(ImageDataModule):
    """CIFAR-10: 60,000 colour images of 32x32 pixels.

    Args:
        root: the folder that holds, or gets, the official archive and what is unpacked from it.

    Raises:
        UserError: files that are damaged, or missing and not to be downloaded.
    """

    official = datasets.CIFAR10
    in_channels = 3
    native_size = 32
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(self, batch_size: int, seed: int = 0, *, root: str = "data", **settings) -> None:
        super().__init__(batch_size, seed, **settings)
        self.root = Path(root).expanduser()

    def load(self) -> Loaded:
        if self._wrong_files():
            self._unpack(self._archive())
        return Loaded(train=self._part(train=True), test=self._part(train=False))

    def _part(self, train: bool) -> Labelled:
        part = self.official(self.root, train=train)
        return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)

    def _wrong_files(self) -> list[Path]:
        """The unpacked files that are missing or not the official ones."""
        meta = (self.official.meta["filename"], self.official.meta["md5"])
        folder = self.root / self.official.base_folder
        return [
            folder / name
            for name, md5 in (*self.official.train_list, *self.official.test_list, meta)
            if not check_integrity(folder / name, md5)
        ]

    def _archive(self) -> Path:
        archive = self.root / self.official.filename
        if not archive.exists():
            damaged = [path for path in self._wrong_files() if path.exists()]
            if damaged:
                raise UserError(f"{damaged[0]} is truncated or not the official file: delete it to have it replaced.")
            self._download(archive)
        elif not check_integrity(archive, self.official.tgz_md5):
            raise UserError(f"{archive} is truncated or not the official file: delete it to have it downloaded again.")
        return archive

    def _download(self, archive: Path) -> None:
        url = self.official.url
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.root, prefix=".") as temporary, _timeout(PATIENCE):
                downloaded = Path(temporary) / archive.name
                torch.hub.download_url_to_file(url, str(downloaded))
                if not check_integrity(downloaded, self.official.tgz_md5):
                    raise OSError("what came is not the official file")
                os.replace(downloaded, archive)
        except OSError as error:
            raise UserError(
                f"data.root={self.root} has no {archive.name} and {url} could not be downloaded ({error}): "
                f"put that file, or the folder {self.official.base_folder} unpacked from it, into data.root."
            ) from error

    def _unpack(self, archive: Path) -> None:
        folder = self.root / self.official.base_folder
        try:
            with TemporaryDirectory(dir=self.root, prefix=".") as temporary:
                extract_archive(str(archive), temporary)
                folder.mkdir(exist_ok=True)
                for path in (Path(temporary) / folder.name).iterdir():
                    os.replace(path, folder / path.name)
        except OSError as error:
            raise UserError(f"{archive} cannot be unpacked into {self.root} ({error.strerror or error}).") from error


class CIFAR100(CIFAR10):
    """CIFAR-100: as CIFAR-10, with 100 classes of 600 images."""

    official = datasets.CIFAR100
    names = tuple(CIFAR100_NAMES.split())


@contextmanager
def _timeout(seconds: float):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
