"""Metrics of members' logits (M, B, K) and labels (B,), as torchmetrics has them, in float64 on their device."""

from ensembles.metrics.base import Predicted
from ensembles.metrics.classification import (
    AURC,
    ECE,
    NLL,
    Accuracy,
    AdaptiveECE,
    BrierScore,
    ClasswiseECE,
    CoverageAtRisk,
    confusion,
    scores,
)
from ensembles.metrics.conformal import ConformalSets
from ensembles.metrics.diversity import Diversity
from ensembles.metrics.ood import OODDetection, OODScores
from ensembles.metrics.regression import RegressionSummary
from ensembles.metrics.summary import Summary, summarise

__all__ = [
    "AURC",
    "ECE",
    "NLL",
    "Accuracy",
    "AdaptiveECE",
    "BrierScore",
    "ClasswiseECE",
    "ConformalSets",
    "CoverageAtRisk",
    "Diversity",
    "OODDetection",
    "OODScores",
    "Predicted",
    "RegressionSummary",
    "Summary",
    "confusion",
    "scores",
    "summarise",
]
