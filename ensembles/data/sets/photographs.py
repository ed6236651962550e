"""Sets of photographs that are folders in an archive: ImageNet's variants and textures."""

from collections.abc import Sequence
from pathlib import Path

from ensembles.data.class_folders import labelled_folder, require_synsets, synsets, unlabelled_folder
from ensembles.data.files.download import Archive, SetLocation, provide_folders
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sets import official_set
from ensembles.errors import UserError

ARCHIVES = {
    "imagenet_a": Archive(
        "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
        "md5:c3e55429088dc681f30d81f4726b6595",
        ("imagenet-a",),
    ),
    "imagenet_o": Archive(
        "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
        "md5:86bd7a50c1c4074fb18fc5f219d6d50b",
        ("imagenet-o",),
    ),
    "imagenet_r": Archive(
        "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
        "md5:a61312130a589d0ca1a8fca1f2bd3337",
        ("imagenet-r",),
    ),
    "imagenet_v2": Archive(
        "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
        "sha256:f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
        ("imagenetv2-matched-frequency-format-val",),
    ),
    "textures": Archive(
        "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
        "md5:fff73e5086ae6bdbea199a49dfb8a4c1",
        ("dtd",),
    ),
}


@official_set
def imagenet_a(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """ImageNet-A, 7,500 natural images of 200 classes that a ResNet-50 gets wrong (Hendrycks et al., 2021)."""
    folder = _provided("imagenet_a", location)
    require_synsets(folder, "imagenet_a")
    return labelled_folder(folder, "imagenet_a", classes)


@official_set
def imagenet_r(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """ImageNet-R, 30,000 renditions (art, toys, tattoos, ...) of 200 classes (Hendrycks et al., 2021)."""
    folder = _provided("imagenet_r", location)
    require_synsets(folder, "imagenet_r")
    return labelled_folder(folder, "imagenet_r", classes)


@official_set
def imagenet_v2(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """ImageNetV2, matched frequency: 10,000 images collected as ImageNet's were, ten years on (Recht et al., 2019).

    Its class folders are numbers, 0 to 999, in the order of the sorted WordNet ids.
    """
    return labelled_folder(_provided("imagenet_v2", location), "imagenet_v2", classes, class_of=_numbered_synset)


@official_set
def imagenet_o(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """ImageNet-O, 2,000 images of classes that ImageNet-1k lacks (Hendrycks et al., 2021): out-of-distribution."""
    return unlabelled_folder(_provided("imagenet_o", location), "imagenet_o")


@official_set
def textures(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """Describable Textures, 5,640 images (Cimpoi et al., 2014): out-of-distribution for ImageNet."""
    return unlabelled_folder(_provided("textures", location) / "images", "textures")


def _provided(name: str, location: SetLocation) -> Path:
    provide_folders(ARCHIVES[name], location)
    return location.root / ARCHIVES[name].folders[0]


def _numbered_synset(folder: str) -> str:
    if not folder.isdecimal() or int(folder) >= len(synsets()):
        raise UserError(f"imagenet_v2 has the class folder {folder}, but its folders are 0 to {len(synsets()) - 1}.")
    return synsets()[int(folder)]
