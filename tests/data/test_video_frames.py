"""Frames of videos, on small images in the official layouts."""

import csv
import json
import os

import pytest
import torch
from PIL import Image

from ensembles.data.class_folders import synsets
from ensembles.data.files.download import SetLocation
from ensembles.data.sets.video_frames import imagenet_vid_robust, ytbb_robust
from ensembles.errors import UserError


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


@pytest.fixture
def location(tmp_path):
    return SetLocation(tmp_path, False, "leave it out")


@pytest.fixture
def vid(tmp_path):
    """Two videos of three classes of their own: dogs (two of ImageNet's), cats (one), and one that frames share."""
    root = tmp_path / "imagenet-vid-robust"
    groups = {
        "val/b/000010.JPEG": ["val/b/000009.JPEG", "val/b/000012.JPEG"],
        "val/a/000003.JPEG": ["val/a/000002.JPEG"],
    }
    shown = {"val/a/000002.JPEG": [0], "val/a/000003.JPEG": [0]}
    shown |= {"val/b/000009.JPEG": [1], "val/b/000010.JPEG": [1, 2], "val/b/000012.JPEG": [2]}
    for name in shown:
        image(root / name)
    image(root / "val/b/000011.JPEG")  # in no group
    save(root / "metadata/pmsets.json", groups)
    save(root / "metadata/labels.json", shown)
    save(root / "misc/imagenet_class_index.json", {str(n): [synset, "name"] for n, synset in enumerate(synsets())})
    save(
        root / "misc/imagenet_vid_class_index.json", {"0": ["nDog", "dog"], "1": ["nCat", "cat"], "2": ["nCar", "car"]}
    )
    parts = {"nCar": [synsets()[817]], "nDog": [synsets()[151], synsets()[268]], "nCat": [synsets()[281]]}
    save(root / "misc/rev_wnid_map.json", parts)
    return root


def test_vid_robust_has_groups_of_frames_each_of_which_can_show_several_things(location, vid):
    found = imagenet_vid_robust(location, synsets())
    assert [os.fsdecode(path).removeprefix(str(vid) + "/val/") for path in found.images.paths] == [
        "a/000002.JPEG",
        "a/000003.JPEG",
        "b/000009.JPEG",
        "b/000010.JPEG",
        "b/000012.JPEG",
    ]
    assert found.covered_classes == [[151, 268], [281], [817]]
    assert found.groups == [[3, 2, 4], [1, 0]]
    right = [row.nonzero().squeeze(1).tolist() for row in found.valid_labels]
    assert right == [[151, 268], [151, 268], [281], [281, 817], [817]]
    assert found.labels.tolist() == [151, 151, 281, 281, 817]


def test_vid_robust_can_be_in_the_folder_of_its_archive(location, vid, tmp_path):
    (tmp_path / "imagenet_vid_ytbb_robust").mkdir()
    vid.rename(tmp_path / "imagenet_vid_ytbb_robust" / vid.name)
    assert len(imagenet_vid_robust(location, synsets()).images) == 5


def damage(path, text):
    return lambda root: (root / path).write_text(text)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda root: root.rename(root.with_name("x")),
            r"There is no .*imagenet-vid-robust: unpack https://.*or leave it",
        ),
        (lambda root: (root / "val/a/000002.JPEG").unlink(), r"There is no .*val/a/000002\.JPEG"),
        (lambda root: (root / "metadata/pmsets.json").unlink(), r"pmsets\.json cannot be read"),
        (damage("metadata/labels.json", "{"), r"labels\.json is damaged"),
        (damage("metadata/labels.json", "{}"), r"val/a/000002\.JPEG shows nothing that is a class of ImageNet"),
        (damage("misc/rev_wnid_map.json", '{"nDog": ["n1"]}'), r"misc do not fit each other"),
        (damage("misc/imagenet_vid_class_index.json", "[1]"), r"misc do not fit each other"),
    ],
)
def test_a_vid_robust_that_cannot_work_is_named(location, vid, change, message):
    change(vid)
    with pytest.raises(UserError, match=message):
        imagenet_vid_robust(location, synsets())


def test_frames_need_imagenets_classes(location, vid):
    with pytest.raises(UserError, match="use them with data=imagenet"):
        imagenet_vid_robust(location, ["dog", "cat"])


@pytest.fixture
def ytbb(tmp_path):
    """One anchor that counts, ``good``, three that annotators rejected, and ``person``, nothing of ImageNet."""
    root = tmp_path / "ytbb-robust"
    names = ["good", "bad", "unsure", "dog"]
    said = {"good": [0, 3], "bad": [0, 1], "unsure": [0, 2], "spoilt": [0], "person": [0]}
    rows = [{"key": f"anchors/{video}_1000/frame-50.jpg", "labels": labels} for video, labels in said.items()]
    rows.insert(0, {"key": "anchors/good_1000/frame-50.jpg", "labels": [1]})  # the last answer counts
    save(root / "metadata/anchor_labels.json", {"labels": names, "annotations": rows})

    def pair(video, frame, labels):
        return {"key": f"anchors/{video}_1000/frame-50.jpg,pmk/{video}_1000/frame-{frame}.jpg", "labels": labels}

    answers = ["similar", "dissimilar", "bad-anchor", "occlusion-increased", "correct"]
    pairs = [pair("good", 40, [0]), pair("good", 49, [0, 4]), pair("good", 51, [0, 3]), pair("good", 52, [1])]
    pairs += [pair("good", 60, [0]), pair("good", 61, [0]), pair("spoilt", 51, [0]), pair("spoilt", 52, [2])]
    save(root / "metadata/pmk_labels.json", {"labels": answers, "annotations": pairs})
    save(root / "metadata/ytbb_class_index.json", {"0": "person", "1": "cat", "2": "dog", "22": "bus", "23": "train"})
    save(root / "metadata/rev_class_idx_map.json", {"1": [281], "2": [151], "22": [779], "23": [466]})
    with open(root / "metadata/ytbb_robustness_test_anchors_full.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["ytid", "time_ms", "label"])
        writer.writeheader()
        for video in said:
            writer.writerow({"ytid": video, "time_ms": 1000, "label": 0 if video == "person" else 23})
    for number in (40, 49, 50, 51, 52, 60, 61):
        image(root / f"ytbb_videos/good_1000/frame-{number}.jpg")
    return root


def test_ytbb_robust_takes_the_frames_that_annotators_called_similar(location, ytbb):
    found = ytbb_robust(location, synsets())
    assert [os.fsdecode(path).split("/")[-1] for path in found.images.paths] == [
        f"frame-{n}.jpg" for n in (40, 49, 50, 60)
    ]
    assert found.groups == [[2, 0, 1, 3]]
    assert found.covered_classes == [[281], [151], [779], [466]]
    for row in found.valid_labels:  # the original label, which is numbered otherwise, and the annotators' dog
        assert row.nonzero().squeeze(1).tolist() == [151, 779]
    assert torch.equal(found.labels, torch.full((4,), 151))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda root: (root / "metadata").rename(root / "x"),
            r"There is no .*metadata: put the files of .*imagenet-testbed",
        ),
        (damage("metadata/rev_class_idx_map.json", '{"x": [1]}'), r"metadata do not fit each other"),
        (damage("metadata/anchor_labels.json", '{"labels": []}'), r"metadata do not fit each other"),
        (damage("metadata/pmk_labels.json", "["), r"pmk_labels\.json is damaged"),
        (damage("metadata/ytbb_robustness_test_anchors_full.csv", "ytid,time_ms,label\n"), r"do not fit each other"),
    ],
)
def test_a_ytbb_robust_that_cannot_work_is_named(location, ytbb, change, message):
    change(ytbb)
    with pytest.raises(UserError, match=message):
        ytbb_robust(location, synsets())
