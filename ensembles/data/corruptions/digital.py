"""Noise and digital, on x in [0, 1], shape (N, C, H, W), by a severity's constants and draws; not clipped.

Pixelating and JPEG are functions of whole grey levels, uint8, without draws. Both give what Pillow does in the release.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.io import decode_jpeg, encode_jpeg

from ensembles.data.corruptions.ops import Draws, gaussian_blur_of


def gaussian_noise(x: Tensor, deviation: float, draws: Draws) -> Tensor:
    return x + deviation * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, photons: float, draws: Draws) -> Tensor:
    return draws.poisson(x * photons) / photons


def impulse_noise(x: Tensor, share: float, draws: Draws) -> Tensor:
    """Set a share of the values, each channel by itself, to 0 or 1 with even odds."""
    u = draws.uniform(*x.shape[1:])
    return x.masked_fill(u < share, 1).masked_fill(u < share / 2, 0)


def speckle_noise(x: Tensor, deviation: float, draws: Draws) -> Tensor:
    return x + x * deviation * draws.normal(*x.shape[1:])


def contrast(x: Tensor, kept: float, draws: Draws) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * kept + mean


def saturate(x: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """Scale and shift the saturation in HSV. A grey pixel's hue is red, so a shift tints it; a grey image stays."""
    if x.shape[1] == 1:
        return x
    factor, added = constants
    value = x.amax(1, keepdim=True)
    below = value - x
    spread = below.amax(1, keepdim=True)
    wanted = (spread / value.clamp(min=1e-9) * factor + added).clamp(0, 1)
    red = torch.tensor([0.0, 1.0, 1.0], device=x.device).view(1, 3, 1, 1)
    shape = torch.where(spread > 0, below / spread.clamp(min=1e-9), red)
    return value * (1 - wanted * shape)


def pixelate(levels: Tensor, share: float) -> Tensor:
    """Scale down and up again by Pillow's box filter, which on the way up takes the pixel that an output lies in."""
    height, width = levels.shape[-2:]
    small = int(height * share), int(width * share)

    def shrunk(channels: Tensor) -> Tensor:
        bands = [Image.fromarray(channel) for channel in channels.numpy()]
        image = bands[0] if len(bands) == 1 else Image.merge("RGB", bands)
        reduced = np.array(image.resize(small[::-1], Image.Resampling.BOX))
        return torch.from_numpy(reduced).view(*small, -1).permute(2, 0, 1)

    images = _each(levels, shrunk)
    for dim, old, new in ((-1, small[1], width), (-2, small[0], height)):
        inside = (torch.arange(new, dtype=torch.double) + 0.5) * (old / new)
        images = images.index_select(dim, inside.long().to(levels.device))
    return images


def jpeg_compression(levels: Tensor, quality: int) -> Tensor:
    interleaved = torch.stack(levels.unbind(1), -1).movedim(-1, 1)  # a third of the encoder's time for it
    return _each(interleaved, lambda image: decode_jpeg(encode_jpeg(image, quality)))


def _each(levels: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change each of the uint8 images (N, C, H, W) on the CPU, on as many threads as torch has."""
    images, threads = levels.cpu(), torch.get_num_threads()
    if threads == 1:  # a thread of its own would cost a third more
        done = [change(image) for image in images]
    else:
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(change, images))
    return torch.stack(done).to(levels.device)


def elastic_transform(x: Tensor, constants: tuple[float, float, float], draws: Draws) -> Tensor:
    """Apply a random affine map, then smooth random displacements, each with linear interpolation.

    The affine map moves three corners of the middle square by up to ``reach``; the displacements are uniform noise,
    blurred and scaled. All lengths are shares of the shorter side.
    """
    height, width = x.shape[-2:]
    side = min(height, width)
    strength, smoothness, reach = (side * share for share in constants)

    middle, leg = torch.tensor([width // 2, height // 2]), side // 3
    corners = (middle + leg * torch.tensor([[1, 1], [1, -1], [-1, -1]])).double().to(x.device)
    moved = corners + reach * (2 * draws.uniform(3, 2).double() - 1)
    back = torch.linalg.solve(functional.pad(moved, (0, 1), value=1), corners.expand_as(moved))
    axes = [torch.arange(size, dtype=torch.double, device=x.device) for size in (width, height)]
    places = torch.stack(torch.meshgrid(*axes, indexing="xy"), -1)
    source = functional.pad(places, (0, 1), value=1).flatten(0, 1) @ back
    x = _sample(x, source.view(-1, height, width, 2), edge_repeated=False)

    if strength == 0:
        return x
    noise = 2 * draws.uniform(2, height, width) - 1
    moves = strength * gaussian_blur_of(noise, smoothness, border="mirror", truncate=3)
    return _sample(x, places + moves.movedim(1, -1), edge_repeated=True)


def _sample(x: Tensor, places: Tensor, edge_repeated: bool) -> Tensor:
    """Sample x (N, C, H, W) at (x, y) in pixels, (N, H, W, 2); mirrored at the border, with or without its edge."""
    size = torch.tensor(x.shape[:-3:-1], device=x.device)
    grid = (2 * places + 1) / size - 1 if edge_repeated else 2 * places / (size - 1) - 1
    return functional.grid_sample(x, grid.to(x.dtype), padding_mode="reflection", align_corners=not edge_repeated)
