"""Augmentations of a batch against torchvision's, image by image."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from ensembles.data.augment import CropFlip
from ensembles.data.rand_augment import OPERATIONS, RandAugment
from ensembles.errors import UserError


def one_by_one(images, drawn, pad):
    height, width = images.shape[-2:]
    changed = []
    for image, (top, left, mirrored) in zip(images, drawn.tolist(), strict=True):
        image = F.crop(F.pad(image, [pad]), top, left, height, width)
        changed.append(F.horizontal_flip(image) if mirrored else image)
    return torch.stack(changed)


@pytest.mark.parametrize(
    "channels, height, width, pad, flip", [(3, 32, 32, 4, True), (1, 8, 5, 1, False), (3, 7, 7, 0, True)]
)
def test_equals_torchvision_image_by_image(channels, height, width, pad, flip):
    images = torch.randint(0, 256, (40, channels, height, width), dtype=torch.uint8)
    augment = CropFlip(pad, flip)
    drawn = augment.draw(40, torch.Generator().manual_seed(0))
    assert torch.equal(augment(images, drawn), one_by_one(images, drawn, pad))


def test_draws_every_offset_and_both_directions_evenly():
    drawn = CropFlip(2, True).draw(9000, torch.Generator().manual_seed(0))
    for column, values in ((0, 5), (1, 5), (2, 2)):
        counts = drawn[:, column].bincount()
        assert len(counts) == values
        assert (counts / 9000 - 1 / values).abs().max() < 0.02


def test_never_mirrors_where_it_must_not():
    assert not CropFlip(2, False).draw(500, torch.Generator().manual_seed(0))[:, 2].any()


@pytest.mark.parametrize("pad", [-1, 1.5, "4", True])
def test_refuses_a_padding_that_is_no_number_of_pixels(pad):
    with pytest.raises(UserError, match=r"data\.augment\.pad"):
        CropFlip(pad)


SPACE = v2.RandAugment._AUGMENTATION_SPACE


def torchvisions(image, magnitude, numbers):
    """The operations of these numbers on one image, by torchvision."""
    library = v2.RandAugment(magnitude=magnitude)
    for number in numbers:
        name, (strengths, signed) = list(SPACE.items())[number % len(SPACE)]
        found = strengths(31, *image.shape[-2:])
        strength = 0.0 if found is None else float(found[magnitude]) * (-1 if signed and number >= len(SPACE) else 1)
        image = library._apply_image_or_video_transform(image, name, strength, library.interpolation, library._fill)
    return image


@pytest.mark.parametrize("magnitude", [0, 9, 14, 30])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 10)])
def test_each_operation_is_torchvisions(magnitude, shape):
    images = torch.randint(0, 256, (2 * len(OPERATIONS), *shape), dtype=torch.uint8)
    drawn = torch.arange(2 * len(OPERATIONS))[:, None]
    got = RandAugment(1, magnitude)(images, drawn)
    for number, image in enumerate(images):
        assert torch.equal(got[number], torchvisions(image, magnitude, [number])), list(SPACE)[number % len(SPACE)]


def test_operations_follow_one_another_image_by_image():
    images = torch.randint(0, 256, (60, 3, 16, 16), dtype=torch.uint8)
    augment = RandAugment(num_ops=3, magnitude=12)
    drawn = augment.draw(60, torch.Generator().manual_seed(0))
    before = images.clone()
    got = augment(images, drawn)
    assert torch.equal(images, before)
    assert torch.equal(
        got, torch.stack([torchvisions(i, 12, row) for i, row in zip(images, drawn.tolist(), strict=True)])
    )


def test_all_operations_are_drawn_evenly():
    counts = RandAugment(2).draw(14_000, torch.Generator().manual_seed(0)).flatten().bincount()
    assert len(counts) == 28 and (counts / 28_000 - 1 / 28).abs().max() < 0.005


def test_it_can_follow_crops_and_flips():
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8)
    augment = CropFlip(2, True, then=RandAugment(2, 9))
    drawn = augment.draw(40, torch.Generator().manual_seed(0))
    assert torch.equal(augment(images, drawn), RandAugment(2, 9)(CropFlip(2, True)(images, drawn[:, :3]), drawn[:, 3:]))


@pytest.mark.parametrize("settings", [{"num_ops": 0}, {"num_ops": 1.5}, {"magnitude": 31}, {"magnitude": True}])
def test_a_setting_that_cannot_work_is_named(settings):
    with pytest.raises(UserError, match=rf"data\.augment: RandAugment's {next(iter(settings))} is"):
        RandAugment(**settings)
