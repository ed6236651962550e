import pytest
import torch
from torchvision.transforms.v2 import functional as F

from ensembles.data.augment import CropFlip
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
