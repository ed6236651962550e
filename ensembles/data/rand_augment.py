"""RandAugment for a batch: the images that drew the same operation are changed together."""

import math
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ensembles.errors import UserError

BINS = 31  # magnitudes, from none to the strongest


class RandAugment:
    """So many random operations on each image, each at one magnitude (Cubuk et al., "RandAugment", 2020).

    The 14 operations, their ranges and their signs are torchvision's; areas that come into view are black.

    Args:
        num_ops: operations on each image.
        magnitude: 0 to 30.

    Raises:
        UserError: a setting out of its range.
    """

    def __init__(self, num_ops: int = 2, magnitude: int = 9) -> None:
        for name, value, low, high in (("num_ops", num_ops, 1, 14), ("magnitude", magnitude, 0, BINS - 1)):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UserError(f"data.augment: RandAugment's {name} is {value!r}, but must be {low} to {high}.")
        self.num_ops, self.magnitude = num_ops, magnitude

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Draw each image's operations, numbered twice over, for either sign, (size, num_ops)."""
        return torch.randint(2 * len(OPERATIONS), (size, self.num_ops), generator=generator)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Change the images, uint8 (B, C, H, W), from what was drawn for them, (B, num_ops)."""
        images = images.clone()
        strength = partial(_strength, magnitude=self.magnitude)
        for column in drawn.T:
            for number in column.unique().tolist():
                chosen = (column == number).nonzero().squeeze(1)
                sign = 1 if number < len(OPERATIONS) else -1
                images[chosen] = OPERATIONS[number % len(OPERATIONS)](images[chosen], strength, sign)
        return images


def _affine(images: Tensor, translate=(0, 0), shear=(0.0, 0.0), centre=None) -> Tensor:
    return F.affine(images, angle=0.0, translate=list(translate), scale=1.0, shear=list(shear), center=centre)


def _strength(strongest: float, magnitude: int) -> float:
    return torch.linspace(0, strongest, BINS)[magnitude].item()


def _slant(strength, sign: int) -> float:
    return math.degrees(math.atan(strength(0.3) * sign))


def _shift(length: int, strength, sign: int) -> int:
    return int(strength(150 / 331 * length)) * sign


OPERATIONS = (  # of images, what makes a strength of the strongest one, and a sign
    lambda images, strength, sign: images,
    lambda images, strength, sign: _affine(images, shear=(_slant(strength, sign), 0.0), centre=[0, 0]),
    lambda images, strength, sign: _affine(images, shear=(0.0, _slant(strength, sign)), centre=[0, 0]),
    lambda images, strength, sign: _affine(images, translate=(_shift(images.shape[-1], strength, sign), 0)),
    lambda images, strength, sign: _affine(images, translate=(0, _shift(images.shape[-2], strength, sign))),
    lambda images, strength, sign: F.rotate(images, strength(30) * sign),
    lambda images, strength, sign: F.adjust_brightness(images, 1 + strength(0.9) * sign),
    lambda images, strength, sign: F.adjust_saturation(images, 1 + strength(0.9) * sign),
    lambda images, strength, sign: F.adjust_contrast(images, 1 + strength(0.9) * sign),
    lambda images, strength, sign: F.adjust_sharpness(images, 1 + strength(0.9) * sign),
    lambda images, strength, sign: F.posterize(images, 8 - round(strength(4))),
    lambda images, strength, sign: F.solarize(images, 255 * (1 - strength(1))),
    lambda images, strength, sign: F.autocontrast(images),
    lambda images, strength, sign: F.equalize(images),
)
