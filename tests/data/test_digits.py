from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images

from ensembles.data import Digits
from ensembles.errors import UserError


def digits(**settings):
    data = Digits(batch_size=64, **settings)
    data.setup()
    return data


def images_of(data, name):
    examples = data.sets[name]
    return examples.images.pixels[examples.index]


def counted(*images):
    return Counter(image.numpy().tobytes() for part in images for image in part)


def test_every_digit_is_in_one_part_and_each_part_is_stratified():
    data = digits()
    own = load_digits()
    assert counted(*(images_of(data, name) for name in ("train", "val", "test"))) == Counter(
        np.rint(image * 255 / 16).astype(np.uint8).tobytes() for image in own.images
    )
    shares = np.bincount(own.target) / 1797
    for name, size in (("train", 1293), ("val", 144), ("test", 360)):
        labels = data.sets[name].labels
        assert len(labels) == size
        assert np.abs(labels.bincount().numpy() - size * shares).max() < 2


def test_labels_go_with_their_images():
    own = load_digits()
    images = (np.rint(image * 255 / 16).astype(np.uint8).tobytes() for image in own.images)
    known = dict(zip(images, own.target, strict=True))
    data = digits(classes=[7, 2, 5])
    for name in ("train", "val", "test"):
        for image, label in zip(images_of(data, name), data.sets[name].labels.tolist(), strict=True):
            assert known[image.numpy().tobytes()] == [7, 2, 5][label]


def test_splits_do_not_depend_on_the_seed():
    one, other = digits(seed=0), digits(seed=1)
    for name in ("train", "val", "test"):
        assert torch.equal(one.sets[name].index, other.sets[name].index)


def test_statistics_are_those_of_the_training_part():
    data = digits()
    pixels = torch.cat([images_of(data, "train"), images_of(data, "val")]).numpy() / 255
    assert data.mean == pytest.approx([pixels.mean()], abs=1e-12)
    assert data.std == pytest.approx([pixels.std()], abs=1e-12)


def test_what_is_known_before_the_images_are_read():
    data = Digits(batch_size=64, classes=["3", "1", "4"], image_size=16)
    assert (data.num_classes, data.in_channels, data.image_size) == (3, 1, 16)
    assert data.class_names == ["3", "1", "4"]
    data.setup()
    x, _ = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert x.shape == (64, 1, 16, 16)


def test_classes_left_out_are_an_out_of_distribution_set():
    data = digits(classes=[0, 1, 2, 3, 4, 5, 6])
    whole = digits()
    assert list(data.test_sets) == ["test", "ood/photos", "ood/spliced", "ood/left_out"]
    assert data.test_sets["test"] + data.test_sets["ood/left_out"] == 360
    assert counted(images_of(data, "test"), images_of(data, "ood/left_out")) == counted(images_of(whole, "test"))
    loaders = data.test_dataloader()
    assert [sum(len(batch.labels) for batch in loader) for loader in loaders] == list(data.test_sets.values())
    for loader in loaders[1:]:
        assert all((batch.labels == -1).all() for batch in loader)


def test_photographs_are_cut_into_as_many_patches_as_there_are_test_images():
    data = digits()
    assert list(data.test_sets.items()) == [("test", 360), ("ood/photos", 360), ("ood/spliced", 360)]
    patches = images_of(data, "ood/photos")
    assert patches.unique(dim=0).shape == (360, 1, 8, 8)
    corner = load_sample_images().images[0][:32, :32] @ np.array([0.299, 0.587, 0.114])
    averaged = corner.reshape(8, 4, 8, 4).mean((1, 3))
    assert np.abs(patches[0, 0].numpy() - averaged).max() < 0.51


def test_spliced_digits_are_two_halves_of_different_classes():
    data = digits()
    images, spliced = images_of(data, "test"), images_of(data, "ood/spliced")
    assert torch.equal(spliced[:, :, :4], images[:, :, :4])
    labels = data.sets["test"].labels
    lower = {tuple(image[:, 4:].flatten().tolist()): set() for image in images}
    for image, label in zip(images, labels.tolist(), strict=True):
        lower[tuple(image[:, 4:].flatten().tolist())].add(label)
    for image, label in zip(spliced, labels.tolist(), strict=True):
        assert lower[tuple(image[:, 4:].flatten().tolist())] - {label}


def test_validation_can_be_left_out():
    data = digits(val_fraction=0)
    assert data.val_dataloader() == []
    assert len(data.sets["train"]) == 1437


def test_a_training_subset_lies_in_the_training_part_and_is_stratified():
    data, whole = digits(train_size=100), digits()
    assert set(data.sets["train"].index.tolist()) < set(whole.sets["train"].index.tolist())
    assert torch.equal(data.sets["val"].index, whole.sets["val"].index)
    assert sorted(data.sets["train"].labels.bincount().tolist())[0] >= 9


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"val_fraction": 1.0}, r"data\.val_fraction"),
        ({"val_fraction": 0.0001}, r"val set .* data\.val_fraction"),
        ({"image_size": 0}, r"data\.image_size"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size"),
        ({"train_size": 9}, r"data\.train_size is 9"),
        ({"train_size": 1294}, r"data\.train_size is 1294"),
        ({"train_size": 99.5}, r"data\.train_size is 99\.5"),
        ({"classes": [0, 10]}, r"data\.classes has 10"),
        ({"classes": [0, "cat"]}, r"data\.classes has 'cat'"),
        ({"classes": [0, True]}, r"data\.classes has True"),
        ({"classes": [3]}, r"data\.classes=\[3\]"),
        ({"classes": [3, 4, 3]}, r"data\.classes=\[3, 4, 3\]"),
    ],
)
def test_a_bad_setting_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        digits(**settings)
