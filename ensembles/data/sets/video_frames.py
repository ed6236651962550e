"""Frames of videos that show the same thing (Shankar et al., "Do Image Classifiers Generalize Across Time?", 2021).

A network is right about an anchor frame only if it is right about every frame like it; a frame can show several things,
each of which is right.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

import torch

from ensembles.data.class_folders import synsets
from ensembles.data.files.download import SetLocation
from ensembles.data.files.listing import read_json, read_text
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sets import official_set
from ensembles.errors import UserError

URL = (
    "https://do-imagenet-classifiers-generalize-across-time.s3-us-west-2.amazonaws.com/imagenet_vid_ytbb_robust.tar.gz"
)
VIDEOS = "ytbb_videos"
NOTES_FROM = "src/eval_settings/ytbb-robust_metadata of https://github.com/modestyachts/imagenet-testbed"
REACH = 10  # frames before and after the anchor
NOT_SIMILAR = {
    *("dissimilar", "problematic", "incorrect", "dont know", "bad-anchor"),
    *("deformation", "background-change", "occlusion-increased", "blur-increase"),
}


@official_set
def imagenet_vid_robust(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """ImageNet-Vid-Robust: 1,109 video frames of 30 classes, each with the up to 20 around it that look like it."""
    root = _frames_folder(location, "imagenet-vid-robust")
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
    return _frames_set(root, groups, shown, alike, classes)


def _note(root: Path, name: str) -> dict:
    return read_json(root / "misc" / f"{name}.json")


@official_set
def ytbb_robust(location: SetLocation, classes: Sequence[str]) -> LabelledSet:
    """YTBB-Robust: 2,530 video frames of YouTube-BB's classes, each with the up to 20 around it that look like it.

    Annotators' answers decide which frames count: an anchor that was called good and nothing bad, and those of the ten
    frames before and after it that were called similar to it and nothing that makes them another picture. Anchors that
    show nothing of ImageNet's are left out, with the frames like them.
    """
    root = _frames_folder(location, "ytbb-robust")
    notes = root / "metadata"
    if not notes.is_dir():
        raise UserError(f"There is no {notes}: put the files of {NOTES_FROM} there, or {location.without}.")
    try:
        kinds = {name: int(kind) for kind, name in read_json(notes / "ytbb_class_index.json").items()}
        alike: list[list[int]] = [[] for _ in range(max(kinds.values()) + 1)]
        for kind, numbers in read_json(notes / "rev_class_idx_map.json").items():
            alike[int(kind)] = numbers
        groups, answers = _groups(notes)
        shown = _shown(notes, groups, answers, kinds, alike)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"The files in {notes} do not fit each other ({error!r}): get them anew.") from error
    groups = {anchor: others for anchor, others in groups.items() if anchor in shown}
    return _frames_set(root / VIDEOS, groups, shown, alike, classes)


def _groups(notes: Path) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """Find each anchor's similar frames, and what was said of each anchor."""
    answers = {_frame(key): said for key, said in _answers(notes / "anchor_labels.json")}
    similar, bad = defaultdict(set), set()
    for key, said in _answers(notes / "pmk_labels.json"):
        anchor, other = map(_frame, key.split(","))
        if "bad-anchor" in said:
            bad.add(anchor)
        if "similar" in said and not said & NOT_SIMILAR:
            similar[anchor].add(other)
    good = {anchor for anchor, said in answers.items() if "good" in said and not said & {"bad", "unsure"}} - bad
    groups = {anchor: [frame for frame in _around(anchor) if frame in similar[anchor]] for anchor in sorted(good)}
    return groups, answers


def _answers(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Read what annotators said of each frame, or pair of frames; of several answers the last."""
    file = read_json(path)
    last = {row["key"]: row["labels"] for row in file["annotations"]}
    for key, labels in last.items():
        yield key, {file["labels"][label] for label in labels}


def _shown(notes: Path, groups: dict, answers: dict, kinds: dict[str, int], alike: list) -> dict[str, set[int]]:
    """Find what each anchor shows, by its original label and the annotators; the frames like it show the same."""
    original = {}
    for row in csv.DictReader(StringIO(read_text(notes / "ytbb_robustness_test_anchors_full.csv"))):
        kind = int(row["label"])
        original[f"{row['ytid']}_{row['time_ms']}"] = {22: 23, 23: 22}.get(kind, kind)  # swapped in this file alone
    shown = {}
    for anchor, others in groups.items():
        seen = {original[anchor.partition("/")[0]]} | {kinds[name] for name in answers[anchor] if name in kinds}
        seen = {kind for kind in seen if alike[kind]}
        if seen:
            shown |= dict.fromkeys((anchor, *others), seen)
    return shown


def _frame(path: str) -> str:
    """Take a frame's path below the videos' folder, ``<video>_<milliseconds>/frame-<number>.jpg``."""
    return "/".join(path.split("/")[-2:])


def _around(anchor: str) -> Iterator[str]:
    video, _, name = anchor.partition("/")
    middle = int(name.split("-")[1].split(".")[0])
    for step in range(-REACH, REACH + 1):
        if step:
            yield f"{video}/frame-{middle + step}.jpg"


def _frames_folder(location: SetLocation, name: str) -> Path:
    """Find a set's folder, on its own or in the one that the archive has for both.

    Raises:
        UserError: it is in neither location.
    """
    for root in (location.root / name, location.root / "imagenet_vid_ytbb_robust" / name):
        if root.is_dir():
            return root
    raise UserError(f"There is no {location.root / name}: unpack {URL} into {location.root}, or {location.without}.")


def _frames_set(
    root: Path,
    groups: Mapping[str, Sequence[str]],
    shown: Mapping[str, Sequence[int]],
    alike: Sequence[Sequence[int]],
    classes: Sequence[str],
) -> LabelledSet:
    """Make the set of all frames that groups name.

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
    covered = [[number_of[synsets()[number]] for number in group] for group in alike]
    names = sorted({name for anchor, others in groups.items() for name in (anchor, *others)})
    position = {name: index for index, name in enumerate(names)}
    valid_labels = torch.zeros(len(names), len(classes), dtype=torch.bool)
    for index, name in enumerate(names):
        if not (root / name).is_file():
            raise UserError(f"There is no {root / name}, which the set's notes name: unpack it anew.")
        right = [number for kind in shown.get(name, ()) for number in covered[kind]]
        if not right:
            raise UserError(f"{root / name} shows nothing that is a class of ImageNet: unpack the set anew.")
        valid_labels[index, right] = True
    return LabelledSet(
        [str(root / name) for name in names],
        valid_labels.int().argmax(1),
        covered_classes=[group for group in covered if group],
        valid_labels=valid_labels,
        groups=[[position[name] for name in (anchor, *others)] for anchor, others in groups.items()],
    )
