"""Folders of images as labelled sets: with class folders, flat where no labels are needed, or by ImageNet's ids."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from ensembles.data.files.listing import image_files, subfolders
from ensembles.data.labelled_set import LabelledSet
from ensembles.errors import UserError


def unlabelled_folder(folder: Path, key: str) -> LabelledSet:
    """Find all image files below a folder, however they are sorted into folders there.

    Raises:
        UserError: no such folder, or no image in it.
    """
    paths = image_files(_existing(folder, key))
    if not paths:
        raise UserError(f"{key}={folder} holds no image: give it a folder of images.")
    return LabelledSet(paths)


def labelled_folder(
    folder: Path, key: str, classes: Sequence[str], class_of: Callable[[str], str] = str
) -> LabelledSet:
    """Find the image files in a folder's class folders, in the order of the classes' numbers.

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
        some = image_files(path)
        if not some:
            raise UserError(f"{key}: the class folder {path} holds no image: put images there or remove it.")
        paths += some
        labels += [number] * len(some)
    covered = sorted(found) if len(found) < len(classes) else None
    return LabelledSet(paths, torch.tensor(labels), covered)


@cache
def synsets(name: str = "imagenet") -> tuple[str, ...]:
    """List ImageNet's WordNet ids, from timm, in the order of its classes; ``imagenet_a``, ``imagenet_r``: subsets."""
    return tuple(_timm_file(f"{name}_synsets.txt").read_text().split())


@cache
def lemmas() -> dict[str, str]:
    """Say what each id means, in a word or two."""
    lines = _timm_file("imagenet_synset_to_lemma.txt").read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines)


def require_synsets(folder: Path, name: str = "imagenet", among: Iterable[str] | None = None) -> None:
    """Check that a folder has a class folder for each id of a list, and no other.

    Args:
        among: the ids of the list that must be there; None for all.

    Raises:
        UserError: no such folder, or a class folder that is missing or not on the list.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: it must hold a class folder for each WordNet id of {name}.")
    present = {path.name for path in subfolders(folder)}
    listed = synsets(name)
    missing = [synset for synset in (listed if among is None else among) if synset not in present]
    strange = sorted(present.difference(listed))
    if missing or strange:
        what = f"lacks the class folder {missing[0]}" if missing else f"has the class folder {strange[0]}, of no class"
        raise UserError(f"{folder} {what}: it must hold the {len(listed)} of {name}, and has {len(present)}.")


def _existing(folder: Path, key: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"{key}={folder} is not a folder: give it a folder of images.")
    return folder


def _timm_file(name: str) -> Path:
    (home,) = find_spec("timm").submodule_search_locations
    return Path(home) / "data/_info" / name
