"""Sets of photographs that are folders of files: ImageNet's variants, ObjectNet and textures."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision import datasets

from ensembles.data.class_folders import labelled_folder, require_synsets, synsets, unlabelled_folder
from ensembles.data.files.download import Archive, SetLocation, provide_folders
from ensembles.data.files.listing import image_files, read_json, read_text
from ensembles.data.image_files import ImageFiles
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sets import official_set
from ensembles.errors import UserError

BERKELEY = "https://people.eecs.berkeley.edu/~hendrycks"
ARCHIVES = {
    name: Archive(url, checksum, (folder,))
    for name, folder, checksum, url in (
        ("imagenet_a", "imagenet-a", "md5:c3e55429088dc681f30d81f4726b6595", f"{BERKELEY}/imagenet-a.tar"),
        ("imagenet_o", "imagenet-o", "md5:86bd7a50c1c4074fb18fc5f219d6d50b", f"{BERKELEY}/imagenet-o.tar"),
        ("imagenet_r", "imagenet-r", "md5:a61312130a589d0ca1a8fca1f2bd3337", f"{BERKELEY}/imagenet-r.tar"),
        (
            *("imagenet_v2", "imagenetv2-matched-frequency-format-val"),
            "sha256:f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
            "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
        ),
        ("textures", "dtd", f"md5:{datasets.DTD._MD5}", datasets.DTD._URL),
    )
}

OBJECTNET = "objectnet-1.0"


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


@official_set
def objectnet(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """ObjectNet, 50,000 objects in unusual places and poses (Barbu et al., 2019); 113 of its classes are ImageNet's.

    Its licence asks users to agree that it is for testing only, so it is not downloaded. An ObjectNet class can be
    several of ImageNet's, which then all are right. Its images have a border of one pixel, which is cut off.
    """
    root = location.root / OBJECTNET
    if not root.is_dir():
        raise UserError(
            f"There is no {root}: get ObjectNet from https://objectnet.dev, whose terms you must accept, and put its "
            f"folder {OBJECTNET} with images/ and mappings/ into {location.root}, or {location.without}."
        )
    numbers = {name: index for index, name in enumerate(classes)}
    paths, labels, covered = [], [], []
    for folder, alike in sorted(_objectnet_classes(root / "mappings").items()):
        some = image_files(root / "images" / folder) if (root / "images" / folder).is_dir() else []
        if not some:
            raise UserError(f"{root / 'images' / folder} holds no image: unpack ObjectNet anew.")
        try:
            covered.append([numbers[synsets()[number]] for number in alike])
        except KeyError as error:
            raise UserError("objectnet is labelled with ImageNet's classes: use it with data=imagenet.") from error
        paths += some
        labels += [covered[-1][0]] * len(some)
    return LabelledSet(ImageFiles(paths, border=1), torch.tensor(labels), covered)


def _provided(name: str, location: SetLocation) -> Path:
    provide_folders(ARCHIVES[name], location)
    return location.root / ARCHIVES[name].folders[0]


def _numbered_synset(folder: str) -> str:
    if not folder.isdecimal() or int(folder) >= len(synsets()):
        raise UserError(f"imagenet_v2 has the class folder {folder}, but its folders are 0 to {len(synsets()) - 1}.")
    return synsets()[int(folder)]


def _objectnet_classes(mappings: Path) -> dict[str, list[int]]:
    """Read the numbers of ImageNet's classes that each class folder shows from the files that come with ObjectNet."""
    label_of_folder = read_json(mappings / "folder_to_objectnet_label.json")
    descriptions = read_json(mappings / "objectnet_to_imagenet_1k.json")
    line_of_number = read_json(mappings / "pytorch_to_imagenet_2012_id.json")
    lines = [line.strip() for line in read_text(mappings / "imagenet_to_label_2012_v2").splitlines()]
    try:
        number_of = {lines[int(line)]: int(number) for number, line in line_of_number.items()}
        return {
            folder: [number_of[description] for description in descriptions[label].split("; ")]
            for folder, label in label_of_folder.items()
            if label in descriptions
        }
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"The files in {mappings} do not fit each other ({error!r}): unpack ObjectNet anew.") from error
