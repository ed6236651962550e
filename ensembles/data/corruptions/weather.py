"""Weather and spatter on x in [0, 1], shape (N, C, H, W), by a severity's constants and draws; not clipped."""

import math
from functools import cache, partial
from importlib import resources

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.io import ImageReadMode, decode_image

from ensembles.data.corruptions.blur import trail
from ensembles.data.corruptions.ops import Draws, clipped_zoom, gaussian_blur_of, grey, like
from ensembles.errors import UserError


def snow(x: Tensor, constants: tuple, draws: Draws) -> Tensor:
    """Make the image paler, and let flakes drift over it twice, the second time turned round."""
    mean, deviation, zoom, threshold, radius, sigma, kept = constants
    flakes = mean + deviation * draws.normal(1, *x.shape[-2:])
    flakes = clipped_zoom(flakes, zoom)
    flakes = flakes.masked_fill(flakes < threshold, 0).clamp(0, 1)
    flakes = (flakes * 255).floor() / 255
    flakes = (trail(flakes, radius, sigma, draws.uniform() * 90 - 135) * 255).round() / 255
    pale = torch.maximum(x, grey(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * pale + flakes + flakes.flip(-2, -1)


def frost(x: Tensor, constants: tuple[float, float, float], draws: Draws) -> Tensor:
    """Add a random piece of a photograph of frost."""
    kept, added, scale = constants
    return kept * x + added * frost_crops(x.shape, scale, draws.uniform(3)).to(x.device)


def fog(x: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """Add a plasma fractal; the sum is scaled so that the image's own maximum stays the largest possible."""
    weight, decay = constants
    height, width = x.shape[-2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    heights = _plasma(draws.uniform(side, side) * 2 - 1, decay)[:, None, :height, :width]
    peak = x.amax((1, 2, 3), keepdim=True)
    return (x + weight * heights) * peak / (peak + weight)


def brightness(x: Tensor, added: float, draws: Draws) -> Tensor:
    """Add to the value in HSV: the channels keep their ratios, and black becomes grey."""
    value = x.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp(min=1e-9), brighter)


def _plasma(noise: Tensor, decay: float) -> Tensor:
    """Make diamond-square heights in [0, 1] on a torus, shape (N, S, S), from noise in [-1, 1] of that shape.

    Each point is the mean of four points around it at the last scale, plus its own noise times an amplitude that
    shrinks by ``decay`` squared from one scale to the next.
    """
    out = torch.zeros_like(noise)
    step, amplitude = noise.shape[-1], 100.0
    while step >= 2:
        half, strength = step // 2, amplitude**2
        corners = out[:, ::step, ::step]
        across = corners + corners.roll(-1, 1)
        middles = (across + across.roll(-1, 2)) / 4 + strength * noise[:, half::step, half::step]
        out[:, half::step, half::step] = middles
        tops = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        sides = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        out[:, ::step, half::step] = tops / 4 + strength * noise[:, ::step, half::step]
        out[:, half::step, ::step] = sides / 4 + strength * noise[:, half::step, ::step]
        step, amplitude = half, amplitude / decay
    out = out - out.amin((1, 2), keepdim=True)
    return out / out.amax((1, 2), keepdim=True)


def frost_crops(shape: torch.Size, scale: float, where: Tensor) -> Tensor:
    """Cut pieces of the photographs, in [0, 1], of an image batch's shape (N, C, H, W).

    ``where`` (N, 3), in [0, 1), picks a photograph and the piece's place in it; ``scale`` shrinks the photographs, but
    not so far that the piece would no longer fit.

    Raises:
        UserError: the package with the photographs is missing.
    """
    _, channels, height, width = shape
    photographs = _scaled(scale, height, width)
    crops = []
    for which, y, x in where.tolist():
        photograph = photographs[int(which * len(photographs))]
        top, left = int(y * (photograph.shape[1] - height)), int(x * (photograph.shape[2] - width))
        crops.append(photograph[:, top : top + height, left : left + width])
    crops = torch.stack(crops)
    return grey(crops) if channels == 1 else crops


@cache
def _scaled(scale: float, height: int, width: int) -> list[Tensor]:
    out = []
    for photograph in _photographs():
        fitting = max(scale, height / photograph.shape[1], width / photograph.shape[2])
        if fitting != 1:
            size = [math.ceil(round(side * fitting, 6)) for side in photograph.shape[1:]]
            photograph = functional.interpolate(photograph[None], size=size, mode="bilinear")[0].round()
        out.append(photograph / 255)
    return out


@cache
def _photographs() -> list[Tensor]:
    """Read the five photographs of frost, with levels from 0 to 255, each (3, H, W)."""
    try:
        folder = resources.files("torch_uncertainty_assets.frost")
    except ModuleNotFoundError as error:
        raise UserError(
            "The corruption frost needs the photographs in the package torch-uncertainty-assets: "
            "pip install torch-uncertainty-assets."
        ) from error
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".jpg")), key=lambda f: f.name)
    return [
        decode_image(torch.frombuffer(bytearray(f.read_bytes()), dtype=torch.uint8), ImageReadMode.RGB).float()
        for f in files
    ]


_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_EMBOSS = ((-2, -1, -1), (-1, -1, 0), (-1, 0, -1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))  # weight, down, right
_FARTHEST = 20


def spatter(x: Tensor, constants: tuple, draws: Draws) -> Tensor:
    """Splash drops of water, which shine, or blots of mud on the image."""
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
    near = _mean_3x3(_distance(_edges(levels))).floor()
    around = _pad(_equalise(near))
    relief = sum(weight * _beside(around, down, right) for weight, down, right in _EMBOSS)
    return _mean_3x3(relief.clamp(0, 255)).round()


def _edges(levels: Tensor, low: int = 50, high: int = 150) -> Tensor:
    """Find Canny's edges (1986): ridges of the gradient, kept where strong or linked to strong ones; bool."""
    strength, ridges = _ridges(levels)
    weak = (ridges & _less(low, strength)).bool().flatten()  # with the border, which keeps a step from wrapping round
    edges = weak & _less(high, strength).bool().flatten()
    while True:
        linked = weak & _spread(_spread(edges, 1), strength.shape[-1])
        if not (linked ^ edges).view(torch.uint8).amax():  # a tenth of the time that any() takes
            return _beside(edges.view_as(strength), 0, 0)
        edges = linked


def _ridges(levels: Tensor) -> tuple[Tensor, Tensor]:
    """Measure Sobel's gradient, and find where none beside it in its direction is larger.

    Returns:
        the gradient's strength |gx| + |gy| and a mask of all bits, int16, both with a border of one pixel of zeros.
    """
    around = functional.pad(levels, (1, 1, 1, 1), mode="replicate").short()
    down = around[..., :-2, :] + 2 * around[..., 1:-1, :] + around[..., 2:, :]
    right = around[..., :-2] + 2 * around[..., 1:-1] + around[..., 2:]
    gx, gy = down[..., 2:] - down[..., :-2], right[..., 2:, :] - right[..., :-2, :]
    abs_x, abs_y = gx.abs(), gy.abs()
    strength = functional.pad(abs_x + abs_y, (1, 1, 1, 1))
    flat = _less(abs_y, (abs_x * 0.41421356).ceil().short())  # below 22.5 degrees
    steep = _less((abs_x * 2.41421356).short(), abs_y)
    beside = partial(_beside, strength)
    rising = torch.maximum(beside(-1, 1), beside(1, -1))
    falling = torch.maximum(beside(-1, -1), beside(1, 1))
    largest = _choose((gx ^ gy) >> 15, rising, falling)
    largest = _choose(steep, torch.maximum(beside(-1, 0), beside(1, 0) - 1), largest)  # of two equal ones the first
    largest = _choose(flat, torch.maximum(beside(0, -1), beside(0, 1) - 1), largest)
    return strength, functional.pad(_less(largest, beside(0, 0)), (1, 1, 1, 1))


def _less(one: Tensor | int, other: Tensor | int) -> Tensor:
    """Compare int16 whose differences are int16, to a mask of all bits: a quarter of the time that ``<`` takes."""
    return (one - other) >> 15


def _choose(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Choose by a mask of all bits: a tenth of the time that torch.where takes."""
    return other ^ ((one ^ other) & mask)


def _spread(mask: Tensor, step: int) -> Tensor:
    """Spread a flat mask to the places ``step`` before and after those where it is true."""
    spread = mask.clone()
    spread[step:] |= mask[:-step]
    spread[:-step] |= mask[step:]
    return spread


def _distance(edges: Tensor) -> Tensor:
    """Measure the distance to the nearest edge, at most 20: squares add up, so one axis after the other."""
    down = (~edges).short() * _FARTHEST
    for step in (1, 2, 4, 8, 4):  # along one axis steps add up to any distance of at most 19
        _lower(down, down + step, step, dim=-2)
    squares = down**2
    nearest = squares.clone()
    for step in range(1, _FARTHEST):
        _lower(nearest, squares + step**2, step, dim=-1)
    return nearest.sqrt()


def _lower(nearest: Tensor, there: Tensor, step: int, dim: int) -> None:
    """Lower each distance to that by way of the pixel ``step`` before or after, in place."""
    beyond = nearest.shape[dim] - step
    if beyond <= 0:
        return
    for here, other in ((0, step), (step, 0)):
        part = nearest.narrow(dim, here, beyond)
        torch.minimum(part, there.narrow(dim, other, beyond), out=part)


def _equalise(levels: Tensor) -> Tensor:
    """Equalise each image's histogram: the darkest level becomes 0, the brightest 255."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=flat.device).scatter_add_(1, flat, torch.ones_like(flat).float())
    darkest = counts.gather(1, levels.flatten(1).amin(1, keepdim=True).long())
    rest = flat.shape[1] - darkest
    table = ((counts.cumsum(1) - darkest) * 255 / rest.clamp(min=1)).round()
    table = torch.where(rest > 0, table, torch.arange(256, device=flat.device))
    return table.gather(1, flat).to(levels.dtype).view_as(levels)


def _mean_3x3(layer: Tensor) -> Tensor:
    around = _pad(layer)
    rows = around[..., :-2, :] + around[..., 1:-1, :] + around[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def _pad(layer: Tensor) -> Tensor:
    return functional.pad(layer, (1, 1, 1, 1), mode="reflect")


def _beside(around: Tensor, down: int, right: int) -> Tensor:
    """Take the neighbours, so many pixels away, of all pixels of a map that is padded by one."""
    height, width = (size - 2 for size in around.shape[-2:])
    return around[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]
