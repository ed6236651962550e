"""Weather: of images x in [0, 1], shape (N, C, H, W), with a severity's constants and draws; clipped later."""

import math

import torch
from torch import Tensor

from ensembles.data.corruptions.blur import trail
from ensembles.data.corruptions.colour import grey
from ensembles.data.corruptions.draws import Draws
from ensembles.data.corruptions.linear import clipped_zoom
from ensembles.data.corruptions.photographs import frost_crops


def snow(x: Tensor, constants: tuple, draws: Draws) -> Tensor:
    """Flakes that drift, seen twice (the second time turned round), over an image that is paler by them."""
    mean, deviation, zoom, threshold, radius, sigma, kept = constants
    flakes = mean + deviation * draws.normal(1, *x.shape[-2:])
    flakes = clipped_zoom(flakes, zoom)
    flakes = flakes.masked_fill(flakes < threshold, 0).clamp(0, 1)
    flakes = (flakes * 255).floor() / 255
    flakes = (trail(flakes, radius, sigma, draws.uniform() * 90 - 135) * 255).round() / 255
    pale = torch.maximum(x, grey(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * pale + flakes + flakes.flip(-2, -1)


def frost(x: Tensor, constants: tuple[float, float, float], draws: Draws) -> Tensor:
    """A random piece of a photograph of frost, added."""
    kept, added, scale = constants
    return kept * x + added * frost_crops(x.shape, scale, draws.uniform(3)).to(x.device)


def fog(x: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """A plasma fractal, added; the sum is scaled so that the image's own maximum stays the largest possible."""
    weight, decay = constants
    height, width = x.shape[-2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    heights = _plasma(draws.uniform(side, side) * 2 - 1, decay)[:, None, :height, :width]
    peak = x.amax((1, 2, 3), keepdim=True)
    return (x + weight * heights) * peak / (peak + weight)


def brightness(x: Tensor, added: float, draws: Draws) -> Tensor:
    """Adds to the value in HSV: the channels keep their ratios, and black becomes grey."""
    value = x.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp(min=1e-9), brighter)


def _plasma(noise: Tensor, decay: float) -> Tensor:
    """Diamond-square heights in [0, 1] on a torus, shape (N, S, S), from noise in [-1, 1] of that shape.

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
