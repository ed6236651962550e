"""Frames of videos that show the same thing (Shankar et al., "Do Image Classifiers Generalize Across Time?", 2021).

A network is right about an anchor frame only if it is right about every frame like it; a frame can show several things,
each of which is right.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ensembles.data.named import NamedSet, Place
from ensembles.data.synsets import synsets
from ensembles.errors import UserError

URL = (
    "https://do-imagenet-classifiers-generalize-across-time.s3-us-west-2.amazonaws.com/imagenet_vid_ytbb_robust.tar.gz"
)


def folder(place: Place, name: str) -> Path:
    """A set's folder, on its own or in the one that the archive has for both.

    Raises:
        UserError: it is in neither place.
    """
    for root in (place.root / name, place.root / "imagenet_vid_ytbb_robust" / name):
        if root.is_dir():
            return root
    raise UserError(f"There is no {place.root / name}: unpack {URL} into {place.root}, or {place.without}.")


def frames(
    root: Path,
    groups: Mapping[str, Sequence[str]],
    shown: Mapping[str, Sequence[int]],
    alike: Sequence[Sequence[int]],
    classes: Sequence[str],
) -> NamedSet:
    """The set of all frames that groups name.

    Args:
        groups: from each anchor frame's path below ``root`` to those of the frames like it.
        shown: what each frame shows, among the set's own classes.
        alike: ImageNet's classes, by number, that each of the set's own classes is made of; it can be none.
        classes: names of the training classes.

    Raises:
        UserError: training classes that are not ImageNet's, or a frame that is not there.
    """
    if set(synsets()).difference(classes):
        raise UserError(f"The frames in {root} are labelled with ImageNet's classes: use them with data=imagenet.")
    number_of = {name: index for index, name in enumerate(classes)}
    covers = [[number_of[synsets()[number]] for number in group] for group in alike]
    names = sorted({name for anchor, others in groups.items() for name in (anchor, *others)})
    position = {name: index for index, name in enumerate(names)}
    accepted = torch.zeros(len(names), len(classes), dtype=torch.bool)
    for index, name in enumerate(names):
        if not (root / name).is_file():
            raise UserError(f"There is no {root / name}, which the set's notes name: unpack it anew.")
        right = [number for kind in shown.get(name, ()) for number in covers[kind]]
        if not right:
            raise UserError(f"{root / name} shows nothing that is a class of ImageNet: unpack the set anew.")
        accepted[index, right] = True
    return NamedSet(
        [str(root / name) for name in names],
        accepted.int().argmax(1),
        covers=[group for group in covers if group],
        accepted=accepted,
        groups=[[position[name] for name in (anchor, *others)] for anchor, others in groups.items()],
    )
