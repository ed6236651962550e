"""Random changes to a batch of images, as tensor operations on the device of the batch.

An augmentation draws its numbers on the CPU first (``draw``) and applies them later (``__call__``), so what an example
looks like is decided once for the step, whichever processes and members then see it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ensembles.data.rand_augment import RandAugment
from ensembles.data.sources import pixels_of
from ensembles.limits import require
from ensembles.rng import seeded


class CropFlip:
    """Crop each image at a random place of its zero-padded self, and mirror it with even odds.

    Args:
        pad: pixels of padding on each side; 0 for no crop.
        flip: whether images are mirrored left to right.
        then: an augmentation that follows; None for none.

    Raises:
        UserError: a padding that is no whole number of pixels.
    """

    def __init__(self, pad: int = 4, flip: bool = True, then: "CropFlip | RandAugment | None" = None) -> None:
        require("data.augment.", pad=pad)
        self.pad, self.flip, self.then = pad, flip, then

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Draw for each of so many images its crop's top and left, whether it is mirrored, and what follows."""
        corner = torch.randint(0, 2 * self.pad + 1, (size, 2), generator=generator)
        mirrored = torch.randint(0, 2, (size, 1), generator=generator)
        drawn = [corner, mirrored * self.flip]
        return torch.cat(drawn if self.then is None else [*drawn, self.then.draw(size, generator)], dim=1)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Change the images, (B, C, H, W) as they came, from what was drawn for them, a row each."""
        images = self._moved(images, drawn[:, :3])
        return images if self.then is None else self.then(images, drawn[:, 3:])

    def _moved(self, images: Tensor, drawn: Tensor) -> Tensor:
        if not self.pad and not self.flip:
            return images
        B, C, H, W = images.shape
        top, left, mirrored = drawn.unsqueeze(-1).unbind(1)
        across, down = torch.arange(W, device=images.device), torch.arange(H, device=images.device)
        padded = F.pad(images, (self.pad,) * 4)
        # Whole rows are picked first, since that copies memory in long runs, then pixels within them.
        first_rows = torch.arange(B * C, device=images.device).view(B, C, 1) * padded.shape[2]
        rows = first_rows + (top + down).view(B, 1, H)
        picked = padded.view(-1, padded.shape[3]).index_select(0, rows.flatten()).view(B, C, H, -1)
        columns = left + torch.where(mirrored > 0, W - 1 - across, across)
        return picked.gather(3, columns.view(B, 1, 1, W).expand(B, C, H, W))


class Transform:
    """A random transform of one's own, such as torchvision.transforms.v2's; all that it draws follows from a seed.

    Args:
        transform: a function of one image, (C, H, W) or of PIL's, to one, uint8 or floats.
    """

    def __init__(self, transform: Callable) -> None:
        self.transform = transform

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Draw a seed for each of so many images, (size, 1)."""
        return torch.randint(2**62, (size, 1), generator=generator)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Change the images (B, C, H, W), each from the seed that was drawn for it."""
        return torch.stack([self.changed(image, seed) for image, seed in zip(images, drawn, strict=True)])

    def changed(self, image: object, seed: Tensor) -> Tensor:
        """Change one image from its seed (1,), (C', H', W')."""
        with seeded(seed.item()):
            return pixels_of(self.transform(image))
