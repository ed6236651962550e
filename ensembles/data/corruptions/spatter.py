"""Spatter: drops of water or mud on the lens.

The water's texture goes through four steps of classical image processing (edges, distance to them, equalised
histogram, emboss), here over a batch; layers have the shape (N, 1, H, W), and grey levels run from 0 to 255.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ensembles.data.corruptions.colour import like
from ensembles.data.corruptions.draws import Draws
from ensembles.data.corruptions.linear import gaussian_blur_of

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_FARTHEST = 20


def spatter(x: Tensor, constants: tuple, draws: Draws) -> Tensor:
    """Images x in [0, 1], shape (N, C, H, W), a severity's constants and draws; clipping comes later."""
    mean, deviation, sigma, threshold, strength, is_mud = constants
    liquid = gaussian_blur_of(mean + deviation * draws.normal(1, *x.shape[-2:]), sigma)
    if is_mud:
        cover = gaussian_blur_of((liquid > threshold).to(x.dtype), strength)
        cover = cover.masked_fill(cover < 0.8, 0)
        return x * (1 - cover) + like(x, _MUD) * cover
    levels = (liquid.masked_fill(liquid < threshold, 0).clamp(0, 1) * 255).floor()
    gloss = levels * _texture(levels)
    gloss = gloss / gloss.amax((2, 3), keepdim=True).clamp(min=1e-9)
    return x + strength * gloss * like(x, _WATER)


def _texture(levels: Tensor) -> Tensor:
    emboss = torch.tensor([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=levels.dtype, device=levels.device)
    near = _mean_3x3(_distance(_edges(levels))).floor()
    relief = functional.conv2d(_pad(_equalise(near)), emboss[None, None]).clamp(0, 255)
    return _mean_3x3(relief).round()


def _edges(levels: Tensor, low: float = 50, high: float = 150) -> Tensor:
    """Canny's edges (1986), as booleans: Sobel gradients, thinned, kept where strong or linked to strong ones."""
    smooth, slope = torch.tensor([1.0, 2, 1]), torch.tensor([-1.0, 0, 1])
    sobel = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None].to(levels)
    padded = functional.pad(levels, (1, 1, 1, 1), mode="replicate")
    gx, gy = functional.conv2d(padded, sobel).split(1, 1)
    strength = gx.abs() + gy.abs()

    around = functional.pad(strength, (1, 1, 1, 1))
    height, width = levels.shape[-2:]

    def at(down: int, right: int) -> Tensor:
        return around[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat = gy.abs() < gx.abs() * 0.41421356  # below 22.5 degrees
    steep = gy.abs() > gx.abs() * 2.41421356
    falling = gx * gy < 0
    across = (strength > at(0, -1)) & (strength >= at(0, 1))
    along = (strength > at(-1, 0)) & (strength >= at(1, 0))
    rise = (strength > at(-1, 1)) & (strength > at(1, -1))
    fall = (strength > at(-1, -1)) & (strength > at(1, 1))
    ridge = torch.where(flat, across, torch.where(steep, along, torch.where(falling, rise, fall)))

    weak = ridge & (strength > low)
    edges = weak & (strength > high)
    while True:
        linked = weak & (functional.max_pool2d(edges.to(levels.dtype), 3, stride=1, padding=1) > 0)
        if torch.equal(linked, edges):
            return edges
        edges = linked


def _distance(edges: Tensor) -> Tensor:
    """Euclidean distance to the nearest edge, at most 20: squares add up, so one axis after the other."""
    squares = torch.where(edges, 0.0, float(_FARTHEST**2))
    for dim in (-2, -1):
        size = squares.shape[dim]
        nearest = squares.clone()
        for step in range(1, min(_FARTHEST, size)):
            ahead, behind = squares.narrow(dim, step, size - step), squares.narrow(dim, 0, size - step)
            for part, other in ((0, ahead), (step, behind)):
                into = nearest.narrow(dim, part, size - step)
                torch.minimum(into, other + step**2, out=into)
        squares = nearest
    return squares.sqrt()


def _equalise(levels: Tensor) -> Tensor:
    """Histogram equalisation, one image at a time: the darkest level becomes 0, the brightest 255."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=flat.device).scatter_add_(1, flat, torch.ones_like(flat).float())
    darkest = counts.gather(1, flat.amin(1, keepdim=True))
    rest = flat.shape[1] - darkest
    table = ((counts.cumsum(1) - darkest) * 255 / rest.clamp(min=1)).round()
    return torch.where(rest > 0, table.gather(1, flat), flat).to(levels.dtype).view_as(levels)


def _mean_3x3(layer: Tensor) -> Tensor:
    return functional.avg_pool2d(_pad(layer), 3, stride=1)


def _pad(layer: Tensor) -> Tensor:
    return functional.pad(layer, (1, 1, 1, 1), mode="reflect")
