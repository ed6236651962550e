"""Confidence bins: what the calibration errors add up and what the reliability diagram draws."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ensembles.metrics.ties import ranked

BINS = 15  # the papers' number


@dataclass(frozen=True)
class Bins:
    """Sums over the examples of each bin, float64, shape (bins, ...)."""

    count: Tensor
    confidence: Tensor
    correct: Tensor

    @property
    def error(self) -> Tensor:
        """Calibration error: the bins' gaps between accuracy and mean confidence, weighted by their counts."""
        return (self.correct - self.confidence).abs().sum(0) / self.count.sum(0)


def _collect(index: Tensor, confidence: Tensor, correct: Tensor, bins: int) -> Bins:
    confidence, correct = confidence.double(), correct.double()
    empty = confidence.new_zeros(bins, *confidence.shape[1:])
    return Bins(*(empty.scatter_add(0, index, x) for x in (torch.ones_like(confidence), confidence, correct)))


def equal_width(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Bins:
    """Bins [i / bins, (i + 1) / bins), the last one closed: (N, ...) confidences and hits -> (bins, ...).

    A confidence that rounding put just below an edge (one class in five has 0.2 less an ulp) counts as on the edge.
    """
    index = (confidence.double() * bins + 1e-9).floor().long().clamp(0, bins - 1)
    return _collect(index, confidence, correct, bins)


def equal_mass(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Bins:
    """Bins of equally many examples (to within one), in order of confidence: (N,) confidences and hits -> (bins,).

    Examples of equal confidence that an edge divides are divided without regard to which of them are correct.
    """
    confidence, correct = ranked(confidence, correct)
    index = torch.arange(len(confidence), device=confidence.device) * bins // len(confidence)
    return _collect(index, confidence, correct, bins)
