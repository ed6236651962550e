"""Mixing pairs of training examples and their labels: mixup and CutMix."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ensembles.errors import UserError
from ensembles.limits import require


class MixDraw(NamedTuple):
    """How strongly a step's examples are mixed, as numbers from 0 to 1.

    Attributes:
        own: weight of the example itself outside of the box; inside there is its partner alone.
        side: of the box, as a share of the image's.
        down, across: where the box's middle is.
    """

    own: float
    side: float
    down: float
    across: float


class Mix:
    """Mix each example of a step with its neighbour in the random order, all in one way and at one strength.

    Args:
        mixup: mixup's alpha, of the Beta distribution that its strength is drawn from; 0 for no mixup.
        cutmix: CutMix's alpha; 0 for no CutMix.
        switch: how often CutMix is chosen where there are both.

    Raises:
        UserError: a setting out of its range.

    Papers: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
    """

    def __init__(self, mixup: float = 0.2, cutmix: float = 1.0, switch: float = 0.5) -> None:
        require("data.mix.", mixup=mixup, cutmix=cutmix, switch=switch)
        if not mixup and not cutmix:
            raise UserError("data.mix has mixup=0 and cutmix=0, which mixes nothing: set data.mix=null.")
        self.mixup, self.cutmix = mixup, cutmix
        self.switch = switch if mixup and cutmix else float(not mixup)

    def draw(self, generator: torch.Generator) -> MixDraw:
        """Draw what happens in a step; a side of 0 is mixup, a weight of 1 is CutMix."""
        random = np.random.default_rng(torch.randint(2**62, (), generator=generator).item())
        cut = random.random() < self.switch
        alpha = self.cutmix if cut else self.mixup
        weight = random.beta(alpha, alpha)
        own, side = (1.0, (1 - weight) ** 0.5) if cut else (weight, 0.0)
        return MixDraw(own, side, *random.random(2).tolist())

    def __call__(self, x: Tensor, partner: Tensor, drawn: MixDraw) -> Tensor:
        """Mix images (B, C, H, W) with their partners."""
        top, bottom, left, right = _box(x, drawn)
        mixed = torch.lerp(partner, x, drawn.own)
        mixed[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
        return mixed

    def labels(self, x: Tensor, labels: Tensor, partner: Tensor, drawn: MixDraw, classes: int) -> Tensor:
        """Return probabilities (B, K) for mixed images ``x``, from their own labels and their partners', both (B,)."""
        top, bottom, left, right = _box(x, drawn)
        kept = 1 - (bottom - top) * (right - left) / (x.shape[-2] * x.shape[-1])
        own, others = (F.one_hot(each, classes).to(x) for each in (labels, partner))
        return torch.lerp(others, own, drawn.own * kept)


def partners(size: int, streams: int) -> Tensor:
    """Find each position's neighbour in its stream of ``size``, (streams * size,); an odd last one is its own."""
    neighbour = (torch.arange(size) ^ 1).clamp(max=size - 1)
    return (neighbour + size * torch.arange(streams)[:, None]).flatten()


def _box(x: Tensor, drawn: MixDraw) -> tuple[int, int, int, int]:
    """Find top, bottom, left and right of the box that CutMix cuts out, in pixels."""
    edges = []
    for length, middle in zip(x.shape[-2:], (drawn.down, drawn.across), strict=True):
        centre, half = int(middle * length), int(drawn.side * length / 2)
        edges += [max(centre - half, 0), min(centre + half, length)]
    return tuple(edges)
