"""Blurs: of images x in [0, 1], shape (N, C, H, W), with a severity's constants and draws; clipped later."""

import math

import numpy
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

from ensembles.data.corruptions.ops import Draws, clipped_zoom, gaussian_blur_of

_ADJACENT = 16
_LARGE = 11  # a kernel's side up to which it is faster to multiply than to transform


def gaussian_blur(x: Tensor, sigma: float, draws: Draws) -> Tensor:
    return gaussian_blur_of(x, sigma)


def defocus_blur(x: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """Convolve with a disk whose edge is softened."""
    kernel = _disk(*constants)
    padded = functional.pad(x, (len(kernel) // 2,) * 4, mode="reflect")
    return (_filtered_by_fft if len(kernel) > _LARGE else _filtered)(padded, kernel.to(x.device))


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve x (N, C, H, W) with a symmetric kernel (S, S), without its border."""
    side, width = len(kernel), x.shape[-1] - len(kernel) + 1
    padded = functional.pad(x, (0, -width % _ADJACENT)).flatten(0, 1).unsqueeze(1)
    # As many pixels that stand side by side are as many output channels, which fill a processor's vectors.
    shifted = torch.zeros(_ADJACENT, 1, side, side + _ADJACENT - 1, device=x.device)
    for pixel in range(_ADJACENT):
        shifted[pixel, 0, :, pixel : pixel + side] = kernel
    blurred = functional.conv2d(padded, shifted, stride=(1, _ADJACENT))  # (N * C, _ADJACENT, H, ...)
    return blurred.permute(0, 2, 3, 1).flatten(-2)[..., :width].unflatten(0, x.shape[:2])


def _filtered_by_fft(x: Tensor, kernel: Tensor) -> Tensor:
    """Do the same in time that does not grow with the kernel."""
    sizes = [next_fast_len(size, real=True) for size in x.shape[-2:]]
    blurred = torch.fft.irfft2(torch.fft.rfft2(x, sizes) * torch.fft.rfft2(kernel, sizes), sizes)
    return blurred[..., len(kernel) - 1 : x.shape[-2], len(kernel) - 1 : x.shape[-1]]


def motion_blur(x: Tensor, constants: tuple[int, float], draws: Draws) -> Tensor:
    """Draw a trail in a direction within 45 degrees of the horizontal, rounded to grey levels."""
    angle = draws.uniform() * 90 - 45
    return (trail(x, *constants, angle) * 255).round() / 255


def zoom_blur(x: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    # NumPy's arange, whose rounding takes the end in for some steps: so the release's lists have it or not
    factors = numpy.arange(1, *constants).tolist()
    return (x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def glass_blur(x: Tensor, constants: tuple[float, int, int], draws: Draws) -> Tensor:
    """Blur, let pixels take a near one's place, blur again.

    The pixels are visited one by one from the bottom right, and each takes the *present* value of a random pixel at
    most ``reach`` away. (The release writes this as an exchange of two NumPy views, but its second assignment reads
    what its first has just written, so the other pixel keeps its value; the released sets are made so.) Which pixel of
    the blurred image each visit ends up with is found for all at once: a pixel that took the value of one visited
    before follows that one's source, and so on, twice as far in each round.
    """
    sigma, reach, passes = constants
    height, width = x.shape[-2:]
    x = (gaussian_blur_of(x, sigma) * 255 + 1e-3).floor() / 255
    here = torch.arange(height * width, device=x.device).expand(len(x), -1)
    source = here
    for _ in range(passes):
        dx, dy = draws.integers(-reach, reach, 2, height - 2 * reach, width - 2 * reach).unbind(1)
        step = functional.pad(dy * width + dx, (reach + 1, reach - 1, reach + 1, reach - 1)).flatten(1)
        taken = here + step
        visited_before = taken > here
        while visited_before.any():
            taken, visited_before = (
                torch.where(visited_before, taken.gather(1, taken), taken),
                visited_before & visited_before.gather(1, taken),
            )
        source = source.gather(1, taken)
    shuffled = x.flatten(2).gather(2, source[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return gaussian_blur_of(shuffled, sigma)


def trail(x: Tensor, radius: int, sigma: float, angle: Tensor) -> Tensor:
    """Blur by half a Gaussian along a line of whole pixels: ImageMagick's motion blur of x (N, C, H, W).

    The line starts at the pixel itself and runs over ``2 * radius + 1`` steps towards ``angle`` (N,), in degrees
    clockwise from the right; beyond the border the nearest pixel counts.
    """
    height, width = x.shape[-2:]
    steps = torch.arange(2 * math.ceil(radius) + 1)
    weights = torch.exp(-(steps.double() ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    steps = steps.to(x.device)
    radians = torch.deg2rad(angle.double())[:, None]
    right, down = ((steps * part - 0.5).ceil().long() for part in (radians.cos(), radians.sin()))
    pixels, out = x.flatten(2), torch.zeros_like(x).flatten(2)
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    for step, weight in enumerate(weights):
        row = (rows + down[:, step, None]).clamp(0, height - 1)
        column = (columns + right[:, step, None]).clamp(0, width - 1)
        index = (row[:, :, None] * width + column[:, None, :]).flatten(1)
        out += weight * pixels.gather(2, index[:, None].expand_as(pixels))
    return out.view_as(x)


def _disk(radius: float, softness: float) -> Tensor:
    """Make an odd-sided kernel with the sum of about 1: a disk, blurred over 3x3 pixels (5x5 beyond a radius of 8)."""
    half, reach = (8, 1) if radius <= 8 else (radius, 2)
    axis = torch.arange(-half, half + 1)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).float()
    profile = torch.exp(-(torch.arange(-reach, reach + 1).double() ** 2) / (2 * softness**2))
    profile = (profile / profile.sum()).float()
    padded = functional.pad((disk / disk.sum())[None, None], (reach,) * 4, mode="reflect")
    kernel = functional.conv2d(padded, torch.outer(profile, profile)[None, None])[0, 0]
    used = min(half, math.floor(radius) + reach)
    return kernel[half - used : half + used + 1, half - used : half + used + 1]
