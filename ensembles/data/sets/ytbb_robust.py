"""YTBB-Robust: 2,530 video frames of YouTube-BB's classes, each with the up to 20 around it that look like it.

Annotators' answers decide which frames count: an anchor that was called good and nothing bad, and those of the ten
frames before and after it that were called similar to it and nothing that makes them another picture.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from ensembles.data.files.notes import read_json, read_text
from ensembles.data.frames import folder, frames
from ensembles.data.named import NamedSet, Place
from ensembles.errors import UserError

VIDEOS = "ytbb_videos"
NOTES_FROM = "src/eval_settings/ytbb-robust_metadata of https://github.com/modestyachts/imagenet-testbed"
REACH = 10  # frames before and after the anchor
NOT_SIMILAR = {
    "dissimilar",
    "problematic",
    "incorrect",
    "dont know",
    "deformation",
    "background-change",
    "occlusion-increased",
    "blur-increase",
    "bad-anchor",
}


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    """Anchors that show nothing of ImageNet's are left out, with the frames like them."""
    root = folder(place, "ytbb-robust")
    notes = root / "metadata"
    if not notes.is_dir():
        raise UserError(f"There is no {notes}: put the files of {NOTES_FROM} there, or {place.without}.")
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
    return frames(root / VIDEOS, groups, shown, alike, classes)


def _groups(notes: Path) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """Each anchor's similar frames, and what was said of each anchor."""
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
    """What annotators said of each frame, or pair of frames; of several answers the last."""
    file = read_json(path)
    last = {row["key"]: row["labels"] for row in file["annotations"]}
    for key, labels in last.items():
        yield key, {file["labels"][label] for label in labels}


def _shown(notes: Path, groups: dict, answers: dict, kinds: dict[str, int], alike: list) -> dict[str, set[int]]:
    """What an anchor shows, by the original label and the annotators, holds for the frames like it too."""
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
    """A frame's path below the videos' folder, ``<video>_<milliseconds>/frame-<number>.jpg``."""
    return "/".join(path.split("/")[-2:])


def _around(anchor: str) -> Iterator[str]:
    video, _, name = anchor.partition("/")
    middle = int(name.split("-")[1].split(".")[0])
    for step in range(-REACH, REACH + 1):
        if step:
            yield f"{video}/frame-{middle + step}.jpg"
