"""Images of any kind made to fit a network's input."""

from PIL import Image
from torch import Tensor

from ensembles.data.files.decode import cover


def fit(images: Tensor, size: int, channels: int) -> Tensor:
    """uint8 images (N, C, H, W) at so many pixels a side, with so many channels: grey from colour, colour from grey."""
    from torchvision.transforms.v2 import functional as F

    if images.shape[1] != channels:
        images = F.rgb_to_grayscale(images) if channels == 1 else images.expand(-1, channels, -1, -1)
    if images.shape[-2:] == (size, size):
        return images
    return F.resize(images, [size, size])


def see(image: Image.Image, size: int, channels: int) -> Image.Image:
    """An RGB image scaled to cover a square of so many pixels, its centre, in grey where there is one channel."""
    square = cover(image, size)
    return square.convert("L") if channels == 1 else square
