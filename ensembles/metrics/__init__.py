"""Metrics of members' logits (M, N, K) and labels (N,), computed in float64 on the logits' device."""

from ensembles.metrics.classification import scores
from ensembles.metrics.summary import summarise

__all__ = ["scores", "summarise"]
