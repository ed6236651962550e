import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ensembles import data
from ensembles.data.augment import CropFlip
from ensembles.data.corruptions import STANDARD
from ensembles.data.rand_augment import RandAugment
from ensembles.recipes import CONFIGS


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


def test_each_set_has_its_usual_test_sets():
    made = {name: instantiate(config(name), batch_size=16) for name in ("digits", "cifar10", "cifar100")}
    assert [data.evaluation_sets.ood_sets for data in made.values()] == [[], ["svhn"], ["svhn"]]
    assert [data.corrupted.source for data in made.values()] == ["on_the_fly", None, None]
    assert [str(data.corrupted_folder) for data in made.values()] == [
        "data/digits-C",
        "data/CIFAR-10-C",
        "data/CIFAR-100-C",
    ]
    assert tuple(made["digits"].corrupted.types) == STANDARD and made["digits"].corrupted.severities == [1, 2, 3, 4, 5]


def test_cifar_can_be_mixed():
    made = instantiate(config("cifar100_mixed"), batch_size=16)
    assert isinstance(made.augment.then, RandAugment) and made.mix.cutmix == 1


@pytest.mark.parametrize(
    "name, train_size, scaled_to, rand_augment, mixes",
    [("imagenet", 224, 256, None, False), ("imagenet_a3", 160, 235, "rand-m6-mstd0.5-inc1", True)],
)
def test_imagenet_has_two_recipes(name, train_size, scaled_to, rand_augment, mixes):
    settings = config(name)
    settings.root = "nowhere"
    made = instantiate(settings, batch_size=16)
    assert (made.image_size, made.train_image_size, made.num_classes) == (224, train_size, 1000)
    assert made.view.transforms[0].size == [scaled_to]
    assert made.augment.rand_augment == rand_augment and (made.mix is not None) == mixes
    assert str(made.corrupted_folder) == "nowhere/imagenet-c"
