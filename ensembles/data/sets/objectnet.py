"""ObjectNet, 50,000 objects in unusual places and poses (Barbu et al., 2019); 113 of its classes are ImageNet's.

Its licence asks users to agree that it is for testing only, so it is not downloaded. An ObjectNet class can be several
of ImageNet's, which then all are right. Its images have a border of one pixel, which is cut off.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from ensembles.data.class_folders import synsets
from ensembles.data.files.download import SetLocation
from ensembles.data.files.listing import image_files, read_json, read_text
from ensembles.data.image_files import ImageFiles
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sets import official_set
from ensembles.errors import UserError

FOLDER = "objectnet-1.0"
BORDER = 1


@official_set
def objectnet(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    root = location.root / FOLDER
    if not root.is_dir():
        raise UserError(
            f"There is no {root}: get ObjectNet from https://objectnet.dev, whose terms you must accept, and put its "
            f"folder {FOLDER} with images/ and mappings/ into {location.root}, or {location.without}."
        )
    numbers = {name: index for index, name in enumerate(classes)}
    paths, labels, covered = [], [], []
    for folder, alike in sorted(_imagenet_classes(root / "mappings").items()):
        some = image_files(root / "images" / folder) if (root / "images" / folder).is_dir() else []
        if not some:
            raise UserError(f"{root / 'images' / folder} holds no image: unpack ObjectNet anew.")
        try:
            covered.append([numbers[synsets()[number]] for number in alike])
        except KeyError as error:
            raise UserError("objectnet is labelled with ImageNet's classes: use it with data=imagenet.") from error
        paths += some
        labels += [covered[-1][0]] * len(some)
    return LabelledSet(ImageFiles(paths, border=BORDER), torch.tensor(labels), covered)


def _imagenet_classes(mappings: Path) -> dict[str, list[int]]:
    """The numbers of ImageNet's classes that each class folder shows, from the files that come with ObjectNet."""
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
