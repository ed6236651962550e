import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ensembles.data import ImageFolder
from ensembles.errors import UserError

COUNTS = {"train/cat": 20, "train/dog": 10, "test/cat": 3, "test/dog": 4}


def load(root, **settings):
    data = ImageFolder(batch_size=4, root=str(root), cache_dir=str(root.parent / "cache"), num_workers=1, **settings)
    data.prepare_data()
    data.setup()
    return data


def pixels_of(path, size=None):
    image = Image.open(path).convert("RGB")
    if size:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_images_and_labels_are_those_of_the_files(image_folder):
    root = image_folder(COUNTS)
    data = load(root)
    assert (data.num_classes, data.in_channels, data.image_size, data.class_names) == (2, 3, 8, ["cat", "dog"])
    assert [len(data.sets[name]) for name in ("train", "val", "test")] == [27, 3, 7]
    assert data.sets["val"].labels.bincount().tolist() == [2, 1]
    assert data.sets["test"].labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    files = [root / "test" / place for place in ("cat/0", "cat/1", "cat/2", "dog/0", "dog/1", "dog/2", "dog/3")]
    expected = torch.stack([pixels_of(f"{file}.png") for file in files])
    assert torch.equal(data.sets["test"].images.pixels, expected)
    every = torch.stack([pixels_of(path) for path in (root / "train").glob("*/*.png")]).double() / 255
    assert data.mean == pytest.approx(every.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(every.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_images_of_any_size_are_scaled_and_cut_to_a_square(image_folder):
    root = image_folder({"train/cat": 2, "train/dog": 2}, size=(30, 20))
    image_folder({"test/cat": 1, "test/dog": 1}, size=(9, 17))
    data = load(root, image_size=12, val_fraction=0)
    assert data.image_size == 12
    assert torch.equal(data.sets["train"].images.pixels[0], pixels_of(root / "train/cat/0.png", 12))
    assert torch.equal(data.sets["test"].images.pixels[1], pixels_of(root / "test/dog/0.png", 12))


def test_grey_transparent_and_16_bit_images_become_rgb(image_folder):
    root = image_folder(COUNTS)
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(root / "train/cat/0.png")
    Image.fromarray(np.stack([grey] * 4, axis=-1)).save(root / "train/cat/1.png")
    Image.fromarray(grey.astype(np.uint16) * 256).save(root / "train/cat/2.png")
    (root / "train/cat/.DS_Store").write_bytes(b"no image, but hidden")
    files = sorted(path.name for path in (root / "train/cat").glob("*.png"))
    images = load(root).sets["train"].images.pixels
    for name in ("0.png", "1.png", "2.png"):
        assert torch.equal(images[files.index(name)], torch.from_numpy(grey).expand(3, 8, 8))


def test_a_validation_folder_takes_the_place_of_the_fraction(image_folder):
    root = image_folder({**COUNTS, "val/dog": 5})
    data = load(root)
    assert [len(data.sets[name]) for name in ("train", "val", "test")] == [30, 5, 7]
    assert data.sets["val"].labels.tolist() == [1] * 5
    assert load(root, val_fraction=0).val_dataloader() == []


def test_several_processes_decode_the_same_images_in_the_same_order(image_folder, monkeypatch):
    monkeypatch.setattr("ensembles.data.files.decode.CHUNK_BYTES", 3 * 8 * 8 * 5)
    root = image_folder(COUNTS)
    alone = load(root)
    data = ImageFolder(batch_size=4, root=str(root), cache_dir=str(root.parent / "other"), num_workers=2)
    data.setup()
    for name in ("train", "test"):
        assert torch.equal(data.sets[name].images.pixels, alone.sets[name].images.pixels)


def break_nothing(root):
    pass


def write_text(root):
    (root / "test/dog/notes.txt").write_text("hello")


def truncate(root):
    os.truncate(root / "train/dog/3.png", 150)


def save(place, mode="RGB", size=(8, 8), kind="png"):
    return lambda root: Image.new(mode, size).save(root / place, kind)


@pytest.mark.parametrize(
    "counts, size, damage, message",
    [
        ({}, None, break_nothing, r"data\.root=.*images is not a folder"),
        ({"train/cat": 1, "train/dog": 1}, None, break_nothing, r"images/test does not exist"),
        ({"test/cat": 1, "test/dog": 1}, None, break_nothing, r"images/train does not exist"),
        ({**COUNTS, "train/elk": 0}, None, break_nothing, r"train/elk holds no image"),
        ({**COUNTS, "test/elk": 1}, None, break_nothing, r"test/elk has no counterpart .*train/elk"),
        ({"train/cat": 2, "test/cat": 1}, None, break_nothing, r"images/train has 1 class"),
        (COUNTS, None, write_text, r"test/dog/notes\.txt is no image"),
        (COUNTS, None, truncate, r"train/dog/3\.png is damaged"),
        (COUNTS, None, save("test/cat/1.png", size=(9, 8)), r"1\.png is 9x8 .*image_size"),
        (COUNTS, None, save("train/cat/0.png", size=(9, 8)), r"9x8 .*not square"),
        (COUNTS, None, save("train/cat/5.png", mode="F", kind="tiff"), r"5\.png .*32 bits"),
        (COUNTS, 100_000, break_nothing, r"37 images of data\.root=.*GiB.*data\.image_size"),
        (COUNTS, -1, break_nothing, r"data\.image_size is -1"),
    ],
)
def test_a_folder_that_cannot_work_is_named(image_folder, tmp_path, counts, size, damage, message):
    image_folder(counts)
    damage(tmp_path / "images")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "images", image_size=size)
    assert not list(tmp_path.glob("cache/*"))


def test_a_root_that_is_not_set_is_named():
    with pytest.raises(UserError, match=r"data\.root is not set"):
        ImageFolder(batch_size=4, root=None)
