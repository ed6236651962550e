"""CIFAR-10 and CIFAR-100 from their official files, as torchvision reads them: checked by MD5, downloaded once."""

import os
from pathlib import Path

import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from ensembles.data.files import checksum
from ensembles.data.files.archive import Archive, official_file, provide, unpacked
from ensembles.data.module import ImageDataModule
from ensembles.data.named import NamedSet, Place
from ensembles.data.whole import Labelled, Loaded
from ensembles.errors import UserError

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
    corrupted_archive = Archive(
        "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar?download=1",
        "md5:56bf5dcef84df0e2308c6dcbcbbd8499",
        ("CIFAR-10-C",),
    )
    title = "CIFAR-10"
    in_channels = 3
    native_size = 32
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def load(self) -> Loaded:
        place = Place(self.root, self.download, "set data.root")
        return Loaded(train=read(self.official, place, train=True), test=read(self.official, place, train=False))

    def provide_corrupted(self, types: list[str]) -> None:
        """The official copies, where there are none yet: those made here may be incomplete and must be completed."""
        if self.corrupted_root or self.corrupted_folder.exists():
            super().provide_corrupted(types)
        provide(self.corrupted_archive, Place(self.root, self.download, "set data.corrupt=on_the_fly or null"))
        checksum.record(self.corrupted_folder, sorted(path.name for path in self.corrupted_folder.glob("*.npy")))

    @classmethod
    def as_ood(cls, place: Place) -> NamedSet:
        """The test part, for networks that know other classes."""
        return NamedSet(read(cls.official, place, train=False)[0])


class CIFAR100(CIFAR10):
    """CIFAR-100: as CIFAR-10, with 100 classes of 600 images."""

    official = datasets.CIFAR100
    corrupted_archive = Archive(
        "https://zenodo.org/records/3555552/files/CIFAR-100-C.tar?download=1",
        "md5:11f0ed0f1191edbf9fa23466ae6021d3",
        ("CIFAR-100-C",),
    )
    title = "CIFAR-100"
    names = tuple(CIFAR100_NAMES.split())


def read(official: type[datasets.CIFAR10], place: Place, train: bool) -> Labelled:
    """A part of an official set, unpacked or downloaded where that is needed.

    Raises:
        UserError: files that are damaged, or missing and not to be downloaded.
    """
    if _wrong_files(official, place.root):
        _have(official, place)
    part = official(place.root, train=train)
    return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)


def _wrong_files(official: type[datasets.CIFAR10], root: Path) -> list[Path]:
    """The unpacked files that are missing or not the official ones."""
    meta = (official.meta["filename"], official.meta["md5"])
    folder = root / official.base_folder
    files = (*official.train_list, *official.test_list, meta)
    return [folder / name for name, md5 in files if not check_integrity(folder / name, md5)]


def _have(official: type[datasets.CIFAR10], place: Place) -> None:
    root, folder = place.root, place.root / official.base_folder
    if not (root / official.filename).exists():
        damaged = [path for path in _wrong_files(official, root) if path.exists()]
        if damaged:
            raise UserError(f"{damaged[0]} is truncated or not the official file: delete it to have it replaced.")
    instead = f"put that file, or the folder {folder.name} unpacked from it, into {root}, or {place.without}"
    with unpacked(official_file(official.url, f"md5:{official.tgz_md5}", place, instead)) as temporary:
        folder.mkdir(exist_ok=True)
        for path in (temporary / folder.name).iterdir():
            os.replace(path, folder / path.name)
