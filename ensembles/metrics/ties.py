"""Examples ranked by confidence, with nothing depending on the order in which equals happened to come."""

import torch
from torch import Tensor


def ranked(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Sort from sure to unsure: (N,), (N,) -> confidences, and for each the share of correct ones among its equals."""
    confidence, order = confidence.sort(descending=True, stable=True)
    _, group, size = torch.unique_consecutive(confidence, return_inverse=True, return_counts=True)
    hits = torch.zeros_like(size, dtype=torch.float64).index_add_(0, group, correct[order].double())
    return confidence, (hits / size)[group]
