"""What the metrics of ensembles have in common, as torchmetrics has them."""

import torch
from torch import Tensor
from torchmetrics import Metric

from ensembles.metrics.predictive import log_mean, require_finite


class EnsembleMetric(Metric):
    """Update with members' logits (M, B, K) and labels (B,); states are float64 and follow no ``module.half()``.

    Processes may hold sets of different sizes, or nothing: their states are joined in the order of the processes.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.set_dtype(torch.float64)


def log_probabilities(logits: Tensor, of: str) -> Tensor:
    """Take the log-probabilities of the ensemble, (1, B, K), or of each member, (M, B, K), in float64.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    if of == "ensemble":
        return log_mean(logits)[None]
    require_finite(logits)
    return logits.double().log_softmax(-1)
