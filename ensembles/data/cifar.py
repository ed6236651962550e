"""CIFAR-10 and CIFAR-100 from their official files, as torchvision reads them: checked by MD5, downloaded once."""

from pathlib import Path

from torchvision import datasets

from ensembles.data.files.download import Archive, SetLocation, provide_folders, record_checksums
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sets.small_images import cifar_part

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
    in_channels = 3
    native_size = 32
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    @property
    def usual_corrupted_folder(self) -> Path:
        return self.root / self.corrupted_archive.folders[0]

    def load(self) -> dict[str, LabelledSet]:
        location = SetLocation(self.root, self.download, "set data.root")
        return {part: cifar_part(self.official, location, train=part == "train") for part in ("train", "test")}

    def provide_corrupted(self, types: list[str]) -> None:
        """Fetch the official copies where there are none: those made here may be incomplete and must be completed."""
        if self.corrupted.root or self.corrupted_folder.exists():
            super().provide_corrupted(types)
        location = SetLocation(self.root, self.download, "set data.corrupted.source=on_the_fly or null")
        provide_folders(self.corrupted_archive, location)
        record_checksums(self.corrupted_folder, sorted(path.name for path in self.corrupted_folder.glob("*.npy")))


class CIFAR100(CIFAR10):
    """CIFAR-100: as CIFAR-10, with 100 classes of 600 images."""

    official = datasets.CIFAR100
    corrupted_archive = Archive(
        "https://zenodo.org/records/3555552/files/CIFAR-100-C.tar?download=1",
        "md5:11f0ed0f1191edbf9fa23466ae6021d3",
        ("CIFAR-100-C",),
    )
    names = tuple(CIFAR100_NAMES.split())
