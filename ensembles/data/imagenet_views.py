"""What a network sees of an ImageNet photograph: its centre in evaluation, a random piece in training."""

import math
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
RATIO = 3 / 4, 4 / 3  # of a piece's width to its height
LOG_RATIO = tuple(torch.log(torch.tensor(RATIO)).tolist())
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


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
        randomly_changed = None
        if self.rand_augment:
            from timm.data.auto_augment import rand_augment_transform

            settings = {"translate_const": int(0.45 * size), "img_mean": MEAN}
            randomly_changed = rand_augment_transform(self.rand_augment, settings)
        return partial(self._seen, size=size, randomly_changed=randomly_changed)

    def _seen(self, image: Image.Image, seed: Tensor, size: int, randomly_changed: Callable | None) -> Image.Image:
        """Draw what torchvision's RandomResizedCrop and RandomHorizontalFlip do after this seed, at less cost.

        They draw from the program's own generator, and seeding and restoring that takes as long as the piece.
        """
        drawing = torch.Generator().manual_seed(seed.item())
        piece = image.crop(piece_of(*image.size, self.scale, drawing))
        piece = piece.resize((size, size), RESAMPLING[self.interpolation])
        if self.flip and torch.rand(1, generator=drawing).item() < 0.5:
            piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if randomly_changed is None:
            return piece
        with seeded(seed.item(), with_torch=False):
            return randomly_changed(piece)


def piece_of(
    width: int, height: int, scale: tuple[float, float], drawing: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw a piece's left, top, right and bottom: its share of the area evenly, its shape evenly on a log scale.

    Ten times at most; where none lies within the image it is the largest allowed shape in the middle.
    """
    for _ in range(10):
        area = width * height * torch.empty(1).uniform_(*scale, generator=drawing).item()
        ratio = torch.empty(1).uniform_(*LOG_RATIO, generator=drawing).exp_().item()
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = torch.randint(height - h + 1, (1,), generator=drawing).item()
            left = torch.randint(width - w + 1, (1,), generator=drawing).item()
            return left, top, left + w, top + h
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
