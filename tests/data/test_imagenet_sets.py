"""The shifted and out-of-distribution sets of ImageNet, on small images in the official folders."""

import hashlib
import io
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from ensembles.data import ImageNet
from ensembles.data.class_folders import lemmas, synsets
from ensembles.data.files.download import Archive, SetLocation
from ensembles.data.sets import official_sets, photographs
from ensembles.data.sets.photographs import imagenet_a, imagenet_o, imagenet_r, imagenet_v2, objectnet
from ensembles.errors import UserError


def jpeg(number):
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((40, 30)).save(file, "jpeg")
    return file.getvalue()


def paths_of(found):
    return [os.fsdecode(path) for path in found.images.paths]


@pytest.fixture
def location(tmp_path):
    return SetLocation(tmp_path, False, "leave it out")


@pytest.fixture
def write(tmp_path):
    """Write an image into each of the folders; returns the folder above them."""

    def make(root, folders, name="0.jpg"):
        for number, folder in enumerate(folders):
            (tmp_path / root / folder).mkdir(parents=True)
            (tmp_path / root / folder / name).write_bytes(jpeg(number % 10))
        return tmp_path / root

    return make


@pytest.mark.parametrize("load, name", [(imagenet_a, "imagenet_a"), (imagenet_r, "imagenet_r")])
def test_a_and_r_cover_200_classes(location, write, load, name):
    root = write(name.replace("_", "-"), synsets(name))
    (root / "README.txt").write_text("about the set")
    found = load(location, synsets())
    assert len(found.images) == len(found.labels) == len(found.covered_classes) == 200
    assert found.covered_classes == found.labels.tolist()
    assert [synsets()[number] for number in found.covered_classes] == sorted(synsets(name))
    for path, label in zip(paths_of(found), found.labels.tolist(), strict=True):
        assert path == str(root / synsets()[label] / "0.jpg")
    shutil.rmtree(root / synsets(name)[3])
    with pytest.raises(UserError, match=rf"lacks the class folder {synsets(name)[3]}: .*200 of {name}, and has 199"):
        load(location, synsets())


def test_the_folders_of_v2_are_numbers_in_the_order_of_the_ids(location, write):
    root = write("imagenetv2-matched-frequency-format-val", [str(number) for number in range(1000)], "x.jpeg")
    found = imagenet_v2(location, synsets())
    assert found.labels.tolist() == list(range(1000)) and found.covered_classes is None
    assert paths_of(found)[10] == str(root / "10/x.jpeg") and paths_of(found)[2] == str(root / "2/x.jpeg")
    (root / "1000").mkdir()
    with pytest.raises(UserError, match="class folder 1000, but its folders are 0 to 999"):
        imagenet_v2(location, synsets())


def test_o_has_no_labels(location, write):
    write("imagenet-o", ["n01443537", "n02095314"])
    found = imagenet_o(location, synsets())
    assert len(found.images) == 2 and not found.has_labels


@pytest.mark.parametrize(
    "load, folders",
    [
        (imagenet_a, synsets("imagenet_a")),
        (imagenet_r, synsets("imagenet_r")),
        (imagenet_v2, [str(number) for number in range(1000)]),
        (imagenet_o, ["n01443537"]),
    ],
)
def test_they_are_downloaded_where_they_are_not_there(tmp_path, write, monkeypatch, load, folders):
    (top,) = photographs.ARCHIVES[load.__name__].folders
    made = write(f"made/{top}", folders)
    packed = tmp_path / "made" / "set.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(made, top)
    checksum = "sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest()
    monkeypatch.setitem(photographs.ARCHIVES, load.__name__, Archive(packed.as_uri(), checksum, (top,)))
    found = load(SetLocation(tmp_path / "root", True, ""), synsets())
    assert len(found.images) == len(folders)


SYNSETS = ("n07753592", "n03179701", "n02708093", "n03196217")
DESCRIPTIONS = ("banana", "desk", "analog clock", "digital clock")


@pytest.fixture
def objects(tmp_path):
    """ObjectNet with four classes, one of which is none of ImageNet's, and images with a red border."""
    root = tmp_path / "objectnet-1.0"
    folders = {
        "alarm_clock": "Alarm clock",
        "banana": "Banana",
        "desk_folder": "Desk",
        "air_freshener": "Air freshener",
    }
    for number, folder in enumerate(folders):
        (root / "images" / folder).mkdir(parents=True)
        inner = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        pixels = np.full((32, 42, 3), (255, 0, 0), np.uint8)
        pixels[1:-1, 1:-1] = inner
        Image.fromarray(pixels).save(root / "images" / folder / "a.png")
    mappings = root / "mappings"
    mappings.mkdir()
    (mappings / "folder_to_objectnet_label.json").write_text(json.dumps(folders))
    objectnet_to_imagenet = {"Banana": "banana", "Desk": "desk", "Alarm clock": "analog clock; digital clock"}
    (mappings / "objectnet_to_imagenet_1k.json").write_text(json.dumps(objectnet_to_imagenet))
    own = [lemmas()[synset].partition(",")[0] + f" {number}" for number, synset in enumerate(synsets())]
    for synset, name in zip(SYNSETS, DESCRIPTIONS, strict=True):
        own[synsets().index(synset)] = name
    lines = list(reversed(own))  # the challenge of 2012 numbers its classes in another order
    (mappings / "imagenet_to_label_2012_v2").write_text("\n".join(lines) + "\n")
    to_line = {str(number): 999 - number for number in range(1000)}
    (mappings / "pytorch_to_imagenet_2012_id.json").write_text(json.dumps(to_line))
    return root


def test_objectnet_is_labelled_by_the_files_that_come_with_it(location, objects):
    found = objectnet(location, synsets())
    number = {name: synsets().index(synset) for synset, name in zip(SYNSETS, DESCRIPTIONS, strict=True)}
    assert [path.split("/")[-2] for path in paths_of(found)] == ["alarm_clock", "banana", "desk_folder"]
    assert found.covered_classes == [
        [number["analog clock"], number["digital clock"]],
        [number["banana"]],
        [number["desk"]],
    ]
    assert found.labels.tolist() == [group[0] for group in found.covered_classes]
    assert found.images.border == 1


def test_objectnet_is_seen_without_its_border(objects, tmp_path, evaluated):
    for part in ("train", "val"):
        for synset in SYNSETS:
            (tmp_path / part / synset).mkdir(parents=True)
            (tmp_path / part / synset / "0.JPEG").write_bytes(jpeg(0))
    data = ImageNet(
        4,
        root=str(tmp_path),
        classes=list(SYNSETS),
        shift_sets=["objectnet"],
        image_size=24,
        val_fraction=0,
        num_workers=0,
    )
    data.setup()
    images, labels = evaluated(data, "shift/objectnet")
    assert labels.tolist() == [2, 0, 1] and data.sets["shift/objectnet"].covered_classes == [[2, 3], 0, 1]
    inner = Image.open(objects / "images/banana/a.png").crop((1, 1, 41, 31))
    assert torch.equal(images[1], v2.functional.pil_to_tensor(v2.CenterCrop(24)(v2.Resize(27)(inner))))


def damage(path, text):
    return lambda root: (root / path).write_text(text)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            shutil.rmtree,
            r"There is no .*objectnet-1\.0: get ObjectNet from https://objectnet\.dev.*, or leave it out\.",
        ),
        (lambda root: shutil.rmtree(root / "images/banana"), r"images/banana holds no image"),
        (
            lambda root: (root / "mappings/imagenet_to_label_2012_v2").unlink(),
            r"imagenet_to_label_2012_v2 cannot be read",
        ),
        (damage("mappings/objectnet_to_imagenet_1k.json", "{"), r"objectnet_to_imagenet_1k\.json is damaged"),
        (damage("mappings/objectnet_to_imagenet_1k.json", '{"Desk": "door"}'), r"mappings do not fit each other"),
        (damage("mappings/pytorch_to_imagenet_2012_id.json", "[]"), r"mappings do not fit each other"),
        (damage("mappings/imagenet_to_label_2012_v2", "banana\n"), r"mappings do not fit each other"),
    ],
)
def test_an_objectnet_that_cannot_work_is_named(location, objects, change, message):
    change(objects)
    with pytest.raises(UserError, match=message):
        objectnet(location, synsets())


def test_imagenets_sets_need_imagenets_classes(location, objects, write):
    with pytest.raises(UserError, match="objectnet is labelled with ImageNet's classes: use it with data=imagenet"):
        objectnet(location, ["cat", "dog"])
    write("imagenet-a", synsets("imagenet_a"))
    with pytest.raises(UserError, match=r"imagenet_a: the class folder .* is of no training class"):
        imagenet_a(location, ["cat", "dog"])


def test_all_sets_can_be_asked_for():
    assert {"imagenet_a", "imagenet_o", "imagenet_r", "imagenet_v2", "objectnet", "textures"} <= set(official_sets())
    assert {"imagenet_vid_robust", "ytbb_robust", "svhn", "cifar10", "cifar100"} <= set(official_sets())
