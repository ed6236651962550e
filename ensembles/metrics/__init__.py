"""Metrics of members' logits (M, N, K) and labels (N,), computed in float64 on the logits' device."""

from ensembles.metrics.classification import scores
from ensembles.metrics.predicted import Predicted
from ensembles.metrics.summary import Summary, summarise

__all__ = ["Predicted", "Summary", "scores", "summarise"]
