"""Sets of small images, out-of-distribution for others: CIFAR's and SVHN's test parts, scikit-learn's images."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from ensembles.data.files.download import SetLocation, official_file, unpacked
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sets import official_set
from ensembles.errors import UserError

PATCH = 32  # pixels of a photograph's patch


@official_set
def cifar10(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    return cifar_part(datasets.CIFAR10, location, train=False).without_labels()


@official_set
def cifar100(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    return cifar_part(datasets.CIFAR100, location, train=False).without_labels()


@official_set
def digits(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """Scikit-learn's handwritten digits, which come with the library."""
    return digit_images().without_labels()


@official_set
def photos(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """Patches of 32x32 pixels of scikit-learn's two photographs, a temple and a flower."""
    return LabelledSet(photo_patches())


@official_set
def svhn(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """SVHN's test part, 26,032 house numbers of 32x32 pixels (Netzer et al., 2011)."""
    url, _, md5 = datasets.SVHN.split_list["test"]
    official_file(url, f"md5:{md5}", location, f"put that file into {location.root}, or {location.without}")
    return LabelledSet(torch.from_numpy(datasets.SVHN(location.root, split="test").data.copy()))


def photo_patches() -> Tensor:
    """Cut scikit-learn's two photographs into patches, uint8 (520, 3, 32, 32)."""
    from sklearn.datasets import load_sample_images

    photographs = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images])
    patches = photographs.permute(0, 3, 1, 2).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, PATCH, PATCH)


def digit_images() -> LabelledSet:
    """Read scikit-learn's 1,797 digits, grey images of 8x8 pixels."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images) * (255 / 16)
    return LabelledSet(images.round().to(torch.uint8).unsqueeze(1), torch.from_numpy(load_digits().target).long())


def cifar_part(official: type[datasets.CIFAR10], location: SetLocation, train: bool) -> LabelledSet:
    """Read a part of CIFAR-10 or CIFAR-100, unpacked or downloaded where that is needed.

    Raises:
        UserError: files that are damaged, or missing and not to be downloaded.
    """
    try:
        part = official(location.root, train=train)
    except RuntimeError:  # files are missing or not the official ones
        _provide_files(official, location)
        part = official(location.root, train=train)
    return LabelledSet(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))


def _wrong_files(official: type[datasets.CIFAR10], root: Path) -> list[Path]:
    """List the unpacked files that are missing or not the official ones."""
    meta = (official.meta["filename"], official.meta["md5"])
    folder = root / official.base_folder
    files = (*official.train_list, *official.test_list, meta)
    return [folder / name for name, md5 in files if not check_integrity(folder / name, md5)]


def _provide_files(official: type[datasets.CIFAR10], location: SetLocation) -> None:
    root, folder = location.root, location.root / official.base_folder
    if not (root / official.filename).exists():
        damaged = [path for path in _wrong_files(official, root) if path.exists()]
        if damaged:
            raise UserError(f"{damaged[0]} is truncated or not the official file: delete it to have it replaced.")
    instead = f"put that file, or the folder {folder.name} unpacked from it, into {root}, or {location.without}"
    with unpacked(official_file(official.url, f"md5:{official.tgz_md5}", location, instead)) as temporary:
        folder.mkdir(exist_ok=True)
        for path in (temporary / folder.name).iterdir():
            os.replace(path, folder / path.name)
