"""What a network sees of an ImageNet photograph: its centre in evaluation, a random piece in training."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from ensembles.errors import UserError
from ensembles.limits import require
from ensembles.rng import seeded

MEAN = (124, 116, 104)  # what RandAugment fills with


def centre(size: int, crop_ratio: float = 0.875, interpolation: str = "bilinear") -> Callable:
    """Make a view of the centre: a square of the image whose shorter side is scaled to ``size / crop_ratio`` pixels.

    Raises:
        UserError: a setting out of its range.
    """
    require("data.", interpolation=interpolation)
    if isinstance(crop_ratio, bool) or not isinstance(crop_ratio, int | float) or not 0 < crop_ratio <= 1:
        raise UserError(f"data.crop_ratio is {crop_ratio!r}, but must be a number above 0, up to 1.")
    scale = v2.Resize(int(size / crop_ratio), v2.InterpolationMode(interpolation))
    return v2.Compose([scale, v2.CenterCrop(size)])


class InceptionCrop:
    """A random piece of the image, of random size and shape, mirrored with even odds (Szegedy et al., 2015).

    Args:
        scale: the piece's smallest and largest share of the image's area.
        flip: whether images are mirrored left to right.
        interpolation: bilinear or bicubic.
        rand_augment: RandAugment as timm spells it, such as "rand-m6-mstd0.5-inc1"; None for none.

    Raises:
        UserError: a setting that does not exist or is out of its range.
    """

    def __init__(
        self,
        scale: Sequence[float] = (0.08, 1.0),
        flip: bool = True,
        interpolation: str = "bilinear",
        rand_augment: str | None = None,
    ) -> None:
        require("data.augment.", interpolation=interpolation)
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise UserError(f"data.augment.scale is {list(scale)!r}, but must be two shares such as [0.08, 1].")
        if rand_augment is not None and not str(rand_augment).startswith("rand-"):
            raise UserError(f"data.augment.rand_augment is {rand_augment!r}, but must be such as rand-m6-mstd0.5-inc1.")
        self.scale, self.flip, self.interpolation = tuple(scale), flip, interpolation
        self.rand_augment = rand_augment

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Draw a seed for each of so many images, (size, 1)."""
        return torch.randint(2**62, (size, 1), generator=generator)

    def at(self, size: int) -> Callable[[Image.Image, Tensor], Image.Image]:
        """Make the augmentation to squares of so many pixels, of an image and the seed that was drawn for it, (1,)."""
        crop = v2.RandomResizedCrop(size, self.scale, interpolation=v2.InterpolationMode(self.interpolation))
        steps = [crop, v2.RandomHorizontalFlip()] if self.flip else [crop]
        if self.rand_augment:
            from timm.data.auto_augment import rand_augment_transform

            steps.append(
                rand_augment_transform(self.rand_augment, {"translate_const": int(0.45 * size), "img_mean": MEAN})
            )
        return partial(_seeded_call, v2.Compose(steps))


def _seeded_call(steps: Callable, image: Image.Image, seed: Tensor) -> Image.Image:
    with seeded(seed.item()):
        return steps(image)
