"""Metrics of members' logits (M, N, K) and labels (N,), or of a regression's outputs, in float64 on their device."""

from ensembles.metrics.classification import scores
from ensembles.metrics.predicted import Predicted
from ensembles.metrics.regression_summary import RegressionSummary
from ensembles.metrics.summary import Summary, summarise

__all__ = ["Predicted", "RegressionSummary", "Summary", "scores", "summarise"]
