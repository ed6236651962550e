"""Sets of classes that hold the label as often as one asks: split-conformal prediction (Angelopoulos & Bates, 2023).

A score says how ill a class suits an example. The threshold is the ceil((n + 1)(1 - miss))-th smallest score of the
labels of n other examples, and an example's set is all classes whose scores do not exceed it. Where both kinds of
examples are drawn alike, a set misses its label with a probability of at most ``miss``, whatever the network is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics.base import log_mean
from ensembles.rng import generator


def lac_scores(p: Tensor, drawn: Tensor) -> Tensor:
    """Score each class by 1 - p: the least ambiguous sets, those of the smallest mean size (Sadinle et al., 2019)."""
    return 1 - p


def aps_scores(p: Tensor, drawn: Tensor) -> Tensor:
    """Score each class by the mass of the more probable ones and a share, ``drawn`` (N,), of its own: (N, K) -> (N, K).

    Adaptive prediction sets (Romano et al., 2020): difficult examples get larger sets. Without the draw, from 0 to 1,
    sets would be larger than they need be.
    """
    sorted_p, order = p.sort(dim=1, descending=True, stable=True)
    below = sorted_p.cumsum(1) - sorted_p
    return torch.empty_like(p).scatter_(1, order, below + drawn[:, None] * sorted_p)


SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"lac": lac_scores, "aps": aps_scores}


def _scores(logits: Tensor, score: str, purpose: str) -> Tensor:
    p = log_mean(logits).exp().cpu()
    return SCORES[score](p, torch.rand(len(p), generator=generator("conformal", purpose), dtype=p.dtype))


@dataclass(frozen=True)
class ConformalSets:
    """Sets of classes below a threshold.

    Attributes:
        score: lac or aps.
        threshold: that scores may not exceed.

    Raises:
        UserError: a score that there is not.
    """

    score: str
    threshold: float

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise UserError(f"score is {self.score!r}, but must be {' or '.join(SCORES)}.")

    @classmethod
    def calibrated(cls, logits: Tensor, labels: Tensor, miss: float = 0.1, score: str = "lac") -> "ConformalSets":
        """Find the threshold by members' logits (M, N, K) and labels (N,) that were not trained on.

        Args:
            miss: the share of sets that may miss their label.

        Raises:
            UserError: a score that there is not, or NaN or an infinity among the logits.
        """
        sets = cls(score, math.inf)
        own = _scores(logits, score, "calibration").gather(1, labels.cpu()[:, None])[:, 0]
        rank = math.ceil((len(own) + 1) * (1 - miss) - 1e-9)
        return cls(score, own.sort().values[rank - 1].item()) if rank <= len(own) else sets

    def __call__(self, logits: Tensor) -> Tensor:
        """Say of each example's classes whether they are in its set: (M, N, K) -> (N, K), bool."""
        return _scores(logits, self.score, "sets") <= self.threshold

    def measure(self, logits: Tensor, labels: Tensor) -> dict[str, float]:
        """Measure ``coverage``, the share of labels in their sets, the sets' mean ``size``, and the ``threshold``.

        A threshold is infinite, so that each set holds all classes, where too few examples calibrate it; then it is
        left out.
        """
        sets = self(logits)
        found = {
            "coverage": sets.gather(1, labels.cpu()[:, None]).double().mean().item(),
            "size": sets.sum(1).double().mean().item(),
        }
        return found | ({"threshold": self.threshold} if math.isfinite(self.threshold) else {})


def conformal(
    logits: Tensor, labels: Tensor, miss: float, calibration: tuple[Tensor, Tensor] | None = None
) -> dict[str, float]:
    """Measure sets by each score, ``<score>/coverage|size|threshold``, on logits (M, N, K) and labels (N,).

    Args:
        miss: the share of sets that may miss their label.
        calibration: logits and labels of other examples; None for a half of these, on which nothing is measured then.
    """
    if calibration is None:
        order = torch.randperm(len(labels), generator=generator("conformal", "halves"))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        calibration = logits[:, first], labels[first]
        logits, labels = logits[:, second], labels[second]
    found: dict[str, float] = {}
    for score in SCORES:
        values = ConformalSets.calibrated(*calibration, miss, score).measure(logits, labels)
        found |= {f"{score}/{name}": value for name, value in values.items()}
    return found
