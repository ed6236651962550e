"""ImageNet-1k in its folder layout, decoded as it is asked for."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ensembles.data.class_folders import labelled_folder, lemmas, require_synsets, synsets
from ensembles.data.files.download import Archive, SetLocation, provide_folders
from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.image_files import ImageFiles
from ensembles.data.imagenet_views import InceptionCrop, centre
from ensembles.data.labelled_set import LabelledSet
from ensembles.errors import UserError
from ensembles.limits import require

CORRUPTED = tuple(  # where each corruption type of ImageNet-C is
    Archive(f"https://zenodo.org/records/2235448/files/{name}.tar?download=1", f"md5:{md5}", tuple(types.split()))
    for name, md5, types in (
        ("noise", "e80562d7f6c3f8834afb1ecf27252745", "gaussian_noise shot_noise impulse_noise"),
        ("blur", "2d8e81fdd8e07fef67b9334fa635e45c", "defocus_blur glass_blur motion_blur zoom_blur"),
        ("weather", "33ffea4db4d93fe4a428c40a6ce0c25d", "snow frost fog brightness"),
        ("digital", "89157860d7b10d5797849337ca2e5c03", "contrast elastic_transform pixelate jpeg_compression"),
        ("extra", "d492dfba5fc162d8ec2c3cd8ee672984", "speckle_noise gaussian_blur spatter saturate"),
    )
)


class ImageNet(ImageDataModule):
    """ImageNet-1k: 1,281,167 training images and 50,000 to test on, the official validation images.

    Args:
        root: the folder that holds ``train/<WordNet id>/`` and ``val/<WordNet id>/``.
        image_size: pixels of the square that is seen in evaluation.
        train_image_size: pixels of the square that is seen in training; None for as many.
        crop_ratio: side of the square in evaluation, over the image's shorter side.
        interpolation: of the scaling in evaluation, bilinear or bicubic.
        skip_broken: whether in training another image of its batch stands in for one that cannot be decoded.

    Raises:
        UserError: a folder that does not hold what it must, or a setting out of its range.
    """

    in_channels = 3
    native_size = 224
    statistics = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # as everybody uses them

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        *,
        root: str | None,
        augment: InceptionCrop | None = None,
        train_image_size: int | None = None,
        crop_ratio: float = 0.875,
        interpolation: str = "bilinear",
        skip_broken: bool = False,
        **settings,
    ) -> None:
        if root is None:
            raise UserError("data.root is not set: give it the folder that holds ImageNet's train/ and val/.")
        if not isinstance(augment, InceptionCrop | None):
            raise UserError("data.augment must be an ensembles.data.imagenet_views.InceptionCrop or null on ImageNet.")
        require("data.train_", image_size=train_image_size)
        require("data.", skip_broken=skip_broken)
        super().__init__(batch_size, seed, root=root, augment=augment, **settings)
        self.train_image_size = train_image_size or self.image_size
        self.skip_broken = skip_broken
        self.view_settings = {"crop_ratio": crop_ratio, "interpolation": interpolation}
        self._centre = centre(self.image_size, **self.view_settings)

    @property
    def names(self) -> Sequence[str]:
        """The WordNet ids, in the order of the classes' numbers."""
        return synsets()

    @property
    def class_names(self) -> list[str]:
        return [lemmas()[name].partition(",")[0] for name in super().class_names]

    @property
    def view(self) -> Callable:
        return self._centre

    @property
    def usual_corrupted_folder(self) -> Path:
        return self.root / "imagenet-c"

    def load(self) -> dict[str, LabelledSet]:
        wanted = None if self.classes is None else super().class_names
        augmented = self.augment and self.augment.at(self.train_image_size)
        training = {"augmented": augmented, "skip_broken": self.skip_broken}
        parts = {}
        for part, folder, settings in (("train", self.root / "train", training), ("test", self.root / "val", {})):
            if not folder.is_dir():
                raise UserError(
                    f"There is no {folder}: ImageNet's licence lets nobody but you download it, from "
                    "https://image-net.org; put train/<WordNet id>/ and val/<WordNet id>/ into data.root."
                )
            require_synsets(folder, among=wanted)
            found = labelled_folder(folder, f"data.root: {part}", self.names)
            parts[part] = LabelledSet(ImageFiles(found.images.paths, self.view, **settings), found.labels)
        return parts

    def teardown(self, stage: str) -> None:
        """Say what was left out."""
        broken = sorted(self.sets["train"].images.broken) if stage == "fit" else []
        if broken:
            named = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
            said = "image was replaced by another" if len(broken) == 1 else "images were replaced by others"
            warnings.warn(f"{len(broken)} broken training {said}: {named}.", stacklevel=1)

    def provide_corrupted(self, types: list[str]) -> None:
        """Fetch the official copies, as far as they are asked for."""
        if self.corrupted.root:
            super().provide_corrupted(types)
        location = SetLocation(self.corrupted_folder, self.download, "set data.corrupted.source=on_the_fly or null")
        for archive in CORRUPTED:
            if set(types).intersection(archive.folders):
                provide_folders(archive, location)
