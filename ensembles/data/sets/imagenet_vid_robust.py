"""ImageNet-Vid-Robust: 1,109 video frames of 30 classes, each with the up to 20 frames around it that look like it."""

from collections.abc import Sequence

from ensembles.data.files.notes import read_json
from ensembles.data.frames import folder, frames
from ensembles.data.named import NamedSet, Place
from ensembles.errors import UserError


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    root = folder(place, "imagenet-vid-robust")
    try:
        number_of = {synset: int(number) for number, (synset, *_) in _note(root, "imagenet_class_index").items()}
        kinds = {synset: int(kind) for kind, (synset, *_) in _note(root, "imagenet_vid_class_index").items()}
        alike: list[list[int]] = [[] for _ in kinds]
        for synset, parts in _note(root, "rev_wnid_map").items():
            alike[kinds[synset]] = [number_of[part] for part in parts]
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"The files in {root / 'misc'} do not fit each other ({error!r}): unpack it anew.") from error
    groups = read_json(root / "metadata" / "pmsets.json")
    shown = read_json(root / "metadata" / "labels.json")
    return frames(root, groups, shown, alike, classes)


def _note(root, name: str) -> dict:
    return read_json(root / "misc" / f"{name}.json")
