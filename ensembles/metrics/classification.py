"""How good a predictive distribution is: metrics of log-probabilities (N, K) in float64 and labels (N,).

`log_mean` gives the ensemble's log-probabilities; a member alone is an ensemble of one.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from ensembles.metrics.bins import equal_mass, equal_width
from ensembles.metrics.predictive import log_mean
from ensembles.metrics.ties import ranked


def confidence_and_correct(log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted class's probability and whether it is the label: (N,) float64, (N,) bool. Ties: the first class."""
    confidence, predicted = log_p.exp().max(-1)
    return confidence, predicted == labels


def accuracy(log_p: Tensor, labels: Tensor) -> Tensor:
    """Share of examples whose most probable class is the label."""
    return confidence_and_correct(log_p, labels)[1].double().mean()


def nll(log_p: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood, nats; of an ensemble that of the averaged probabilities."""
    return functional.nll_loss(log_p, labels)


def brier(log_p: Tensor, labels: Tensor) -> Tensor:
    """Multi-class Brier score in [0, 2]: squared error summed over classes, averaged over examples."""
    return (log_p.exp() - functional.one_hot(labels, log_p.shape[1])).square().sum(1).mean()


def ece(log_p: Tensor, labels: Tensor) -> Tensor:
    """Expected calibration error of the predicted class over 15 confidence bins of equal width (Guo et al., 2017)."""
    return equal_width(*confidence_and_correct(log_p, labels)).error


def adaptive_ece(log_p: Tensor, labels: Tensor) -> Tensor:
    """As `ece`, over 15 bins of equally many examples (Nguyen & O'Connor, 2015)."""
    return equal_mass(*confidence_and_correct(log_p, labels)).error


def classwise_ece(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean over classes of the calibration error of that class's probability, 15 equal bins (Kull et al., 2019)."""
    classes = torch.arange(log_p.shape[1], device=log_p.device)
    return torch.cat(
        [equal_width(log_p[:, some].exp(), labels[:, None] == some).error for some in classes.split(64)]
    ).mean()


def aurc(log_p: Tensor, labels: Tensor) -> Tensor:
    """Area under the risk-coverage curve: the error rate on the n surest examples, averaged over n = 1..N.

    Confidence is the maximum probability (Geifman & El-Yaniv, 2017). Examples of equal confidence count as in random
    order: the expected number of errors among the n surest is used.
    """
    _, correct = ranked(*confidence_and_correct(log_p, labels))
    errors = (1 - correct).cpu().cumsum(0)  # CUDA has no deterministic cumsum of floats
    return (errors / torch.arange(1, len(errors) + 1)).mean()


METRICS = {
    "acc": accuracy,
    "nll": nll,
    "ece": ece,
    "brier": brier,
    "aece": adaptive_ece,
    "cece": classwise_ece,
    "aurc": aurc,
}


def measure(log_p: Tensor, labels: Tensor, names: Iterable[str] = METRICS) -> dict[str, float]:
    """The named metrics of log-probabilities (N, K) in float64 and labels (N,)."""
    return {name: METRICS[name](log_p, labels).item() for name in names}


def scores(logits: Tensor, labels: Tensor, names: Iterable[str] = METRICS) -> dict[str, float]:
    """The named metrics of the mean of the members' softmax, from logits (M, N, K) and labels (N,).

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    return measure(log_mean(logits), labels, names)
