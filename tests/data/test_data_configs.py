import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ensembles import data
from ensembles.cli import CONFIGS
from ensembles.data.augment import CropFlip


def config(name):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", [f"data={name}"]).data


@pytest.mark.parametrize(
    "name, family, pad, flip",
    [
        ("digits", "Digits", 1, False),
        ("cifar10", "CIFAR10", 4, True),
        ("cifar100", "CIFAR100", 4, True),
        ("image_folder", "ImageFolder", 4, True),
    ],
)
def test_each_config_makes_its_data_module(name, family, pad, flip, image_folder):
    settings = config(name)
    if "root" in settings:
        settings.root = str(image_folder({"train/0": 1, "train/1": 1, "train/2": 1, "test/0": 1}))
    settings.classes = [0, "2"] if name in ("digits", "image_folder") else [0, 2]
    made = instantiate(settings, batch_size=16, seed=7)
    assert type(made) is getattr(data, family)
    assert (made.batch_size, made.seed, made.num_classes, made.val_fraction) == (16, 7, 2, 0.1)
    assert (made.augment.pad, made.augment.flip) == (pad, flip)


def test_augmentation_can_be_switched_off():
    settings = config("digits")
    assert isinstance(instantiate(settings, batch_size=16).augment, CropFlip)
    settings.augment = None
    assert instantiate(settings, batch_size=16).augment is None
