"""Any folder of images as a set: with class folders, or flat where no labels are needed."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

import torch

from ensembles.data.files.listing import files, subfolders
from ensembles.data.named import NamedSet
from ensembles.errors import UserError


def unlabelled(folder: Path, key: str) -> NamedSet:
    """All image files below a folder, however they are sorted into folders there.

    Raises:
        UserError: no such folder, or no image in it.
    """
    paths = files(_existing(folder, key))
    if not paths:
        raise UserError(f"{key}={folder} holds no image: give it a folder of images.")
    return NamedSet(paths)


def labelled(folder: Path, key: str, classes: Sequence[str], class_of: Callable[[str], str] = str) -> NamedSet:
    """The image files in a folder's class folders, in the order of the classes' numbers.

    Args:
        key: what asks for it, for the errors.
        classes: names of the training classes.
        class_of: from the name of a class folder to that of its class.

    Raises:
        UserError: no such folder, no class folder, one without an image, or one of a class that training does not have.
    """
    numbers = {name: index for index, name in enumerate(classes)}
    found: dict[int, Path] = {}
    for path in subfolders(_existing(folder, key)):
        name = class_of(path.name)
        if name not in numbers:
            near = get_close_matches(name, classes, n=3, cutoff=0.6) or list(classes)[:3]
            raise UserError(f"{key}: the class folder {path} is of no training class, which are {', '.join(near)}, ...")
        found[numbers[name]] = path
    if not found:
        raise UserError(f"{key}={folder} has no class folders: name its folders after the training classes.")
    paths, labels = [], []
    for number, path in sorted(found.items()):
        some = files(path)
        if not some:
            raise UserError(f"{key}: the class folder {path} holds no image: put images there or remove it.")
        paths += some
        labels += [number] * len(some)
    covers = sorted(found) if len(found) < len(classes) else None
    return NamedSet(paths, torch.tensor(labels), covers)


def _existing(folder: Path, key: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"{key}={folder} is not a folder: give it a folder of images.")
    return folder
