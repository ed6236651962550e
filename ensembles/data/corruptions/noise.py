"""Noise: of images x in [0, 1], shape (N, C, H, W), with a severity's constants and draws; clipped later."""

from torch import Tensor

from ensembles.data.corruptions.draws import Draws


def gaussian_noise(x: Tensor, deviation: float, draws: Draws) -> Tensor:
    return x + deviation * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, photons: float, draws: Draws) -> Tensor:
    return draws.poisson(x * photons) / photons


def impulse_noise(x: Tensor, share: float, draws: Draws) -> Tensor:
    """A share of the values, each channel by itself, becomes 0 or 1 with even odds."""
    u = draws.uniform(*x.shape[1:])
    return x.masked_fill(u < share, 1).masked_fill(u < share / 2, 0)


def speckle_noise(x: Tensor, deviation: float, draws: Draws) -> Tensor:
    return x + x * deviation * draws.normal(*x.shape[1:])
