"""How good a predictive distribution is.

Each metric stands once, as a function of `Statistics`, which are some numbers for each example. As a torchmetrics
metric it collects these from the members' logits (M, B, K) and labels (B,), batch by batch and over processes, and
applies the function. All but `ClasswiseECE` have the same states, so in a MetricCollection they are collected once.

torchmetrics' own accuracy would agree, but stand apart from these states. Its calibration error adds up in float32, and
is off by up to 1e-4 at 50,000 examples; Brier score, AURC and the other calibration errors it has not.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from ensembles.errors import UserError
from ensembles.metrics.base import EnsembleMetric, log_mean, log_probabilities


def ranked(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Sort from sure to unsure: (N,), (N,) -> confidences, and for each the share of correct ones among its equals."""
    confidence, order = confidence.sort(descending=True, stable=True)
    _, group, size = torch.unique_consecutive(confidence, return_inverse=True, return_counts=True)
    hits = torch.zeros_like(size, dtype=torch.float64).index_add_(0, group, correct[order].double())
    return confidence, (hits / size)[group]


BINS = 15  # the papers' number


class Bins(NamedTuple):
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
    """Sum over bins [i / bins, (i + 1) / bins), the last one closed: (N, ...) confidences and hits -> (bins, ...).

    A confidence that rounding put just below an edge (one class in five has 0.2 less an ulp) counts as on the edge.
    """
    index = (confidence.double() * bins + 1e-9).floor().long().clamp(0, bins - 1)
    return _collect(index, confidence, correct, bins)


def equal_mass(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Bins:
    """Sum over bins of equally many examples (to within one), in order of confidence: (N,), (N,) -> (bins,).

    Examples of equal confidence that an edge divides are divided without regard to which of them are correct.
    """
    confidence, correct = ranked(confidence, correct)
    index = torch.arange(len(confidence), device=confidence.device) * bins // len(confidence)
    return _collect(index, confidence, correct, bins)


class Statistics(NamedTuple):
    """What is kept of each prediction: (N,), float64.

    Attributes:
        confidence: the predicted class's probability; of equal ones the first class is predicted.
        correct: 1 where the predicted class is the label, else 0.
        log_likelihood: the label's log-probability, nats.
        squared_error: of the probabilities, summed over classes.
    """

    confidence: Tensor
    correct: Tensor
    log_likelihood: Tensor
    squared_error: Tensor


def statistics(log_p: Tensor, labels: Tensor) -> Statistics:
    """Reduce log-probabilities (N, K) in float64 and labels (N,)."""
    p = log_p.exp()
    confidence, predicted = p.max(-1)
    log_likelihood = log_p.gather(1, labels[:, None])[:, 0]
    squared_error = p.square().sum(1) - 2 * log_likelihood.exp() + 1
    return Statistics(confidence, (predicted == labels).double(), log_likelihood, squared_error)


def accuracy(of: Statistics) -> Tensor:
    """Share of examples whose most probable class is the label."""
    return of.correct.mean()


def nll(of: Statistics) -> Tensor:
    """Negative log-likelihood, nats; of an ensemble that of the averaged probabilities."""
    return -of.log_likelihood.mean()


def brier(of: Statistics) -> Tensor:
    """Multi-class Brier score in [0, 2]: squared error summed over classes, averaged over examples."""
    return of.squared_error.mean()


def ece(of: Statistics) -> Tensor:
    """Expected calibration error of the predicted class over 15 confidence bins of equal width (Guo et al., 2017)."""
    return equal_width(of.confidence, of.correct).error


def adaptive_ece(of: Statistics) -> Tensor:
    """As `ece`, over 15 bins of equally many examples (Nguyen & O'Connor, 2015)."""
    return equal_mass(of.confidence, of.correct).error


def aurc(of: Statistics) -> Tensor:
    """Area under the risk-coverage curve: the error rate on the n surest examples, averaged over n = 1..N.

    Confidence is the maximum probability (Geifman & El-Yaniv, 2017). Examples of equal confidence count as in random
    order: the expected number of errors among the n surest is used.
    """
    _, correct = ranked(of.confidence, of.correct)
    errors = (1 - correct).cpu().cumsum(0)  # CUDA has no deterministic cumsum of floats
    return (errors / torch.arange(1, len(errors) + 1)).mean()


def coverage_at_risk(of: Statistics, risk: float) -> Tensor:
    """Largest share of examples, the surest ones, of which a share ``risk`` at most is wrong; 0 where there is none.

    Confidence is the maximum probability (Geifman & El-Yaniv, 2017). As by a threshold, examples of equal confidence
    are decided together.
    """
    confidence, correct = ranked(of.confidence, of.correct)
    count = torch.arange(1, len(confidence) + 1, device=confidence.device)
    is_last = torch.ones_like(confidence, dtype=torch.bool)
    is_last[:-1] = confidence[1:] != confidence[:-1]
    errors = (1 - correct).cpu().cumsum(0).to(count.device)  # CUDA has no deterministic cumsum of floats
    within = is_last & (errors <= risk * count + 1e-9)
    return (count * within).max() / len(confidence)


def confusion(log_p: Tensor, labels: Tensor) -> Tensor:
    """Count how often a class (row) is taken for each (column), from log-probabilities (N, K) and labels: (K, K)."""
    K = log_p.shape[1]
    return torch.bincount(labels * K + log_p.argmax(-1), minlength=K * K).view(K, K)


def classwise_bins(log_p: Tensor, labels: Tensor) -> Bins:
    """Sum over bins of each class's probability and of whether it is the label, (N, K) and (N,) -> (bins, K)."""
    classes = torch.arange(log_p.shape[1], device=log_p.device)
    parts = [equal_width(log_p[:, some].exp(), labels[:, None] == some) for some in classes.split(64)]
    return Bins(*(torch.cat(sums, 1) for sums in zip(*parts, strict=True)))


def classwise_ece(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean over classes of the calibration error of that class's probability, 15 equal bins (Kull et al., 2019)."""
    return classwise_bins(log_p, labels).error.mean()


OF_STATISTICS: dict[str, Callable[[Statistics], Tensor]] = {
    "acc": accuracy,
    "nll": nll,
    "ece": ece,
    "brier": brier,
    "aece": adaptive_ece,
    "aurc": aurc,
}
METRICS = (*OF_STATISTICS, "cece")


def measure(log_p: Tensor, labels: Tensor, names: Iterable[str] = METRICS) -> dict[str, float]:
    """Compute the named metrics of log-probabilities (N, K) in float64 and labels (N,)."""
    of = statistics(log_p, labels)
    return {
        name: (classwise_ece(log_p, labels) if name == "cece" else OF_STATISTICS[name](of)).item() for name in names
    }


def scores(logits: Tensor, labels: Tensor, names: Iterable[str] = METRICS) -> dict[str, float]:
    """Compute the named metrics of the mean of the members' softmax, from logits (M, N, K) and labels (N,).

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    return measure(log_mean(logits), labels, names)


class _PerExample(EnsembleMetric):
    """Collect `Statistics` of the ensemble, or of each member, and reduce them by a function.

    Args:
        of: ``ensemble``, whose metric is one number, or ``members``, whose metrics are (M,).
    """

    reduce: Callable[[Statistics], Tensor]

    def __init__(self, of: Literal["ensemble", "members"] = "ensemble", **settings) -> None:
        super().__init__(**settings)
        if of not in ("ensemble", "members"):
            raise UserError(f"of is {of!r}, but must be ensemble or members.")
        self.of = of
        for name in Statistics._fields:
            self.add_state(name, [], dist_reduce_fx="cat")
        self.add_state("predictors", torch.tensor(0), dist_reduce_fx="max")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in members' logits (M, B, K) and labels (B,).

        Raises:
            UserError: NaN or an infinity among the logits.
        """
        log_p = log_probabilities(logits, self.of)
        self.predictors = torch.tensor(len(log_p), device=log_p.device)
        parts = [statistics(one, labels) for one in log_p]
        for name in Statistics._fields:
            # example by example, as batches and processes are joined
            each = torch.stack([getattr(part, name) for part in parts], dim=1)
            getattr(self, name).append(each.flatten())

    def compute(self) -> Tensor:
        """Compute the metric, float64."""
        joined = [dim_zero_cat(getattr(self, name)).view(-1, int(self.predictors)) for name in Statistics._fields]
        each = [self.reduce(Statistics(*columns)) for columns in zip(*(s.unbind(1) for s in joined), strict=True)]
        return each[0] if self.of == "ensemble" else torch.stack(each)


class Accuracy(_PerExample):
    """Share of examples whose most probable class is the label."""

    higher_is_better = True
    reduce = staticmethod(accuracy)


class NLL(_PerExample):
    """Negative log-likelihood, nats; of an ensemble that of the averaged probabilities."""

    higher_is_better = False
    reduce = staticmethod(nll)


class BrierScore(_PerExample):
    """Multi-class Brier score in [0, 2]: squared error summed over classes, averaged over examples."""

    higher_is_better = False
    reduce = staticmethod(brier)


class ECE(_PerExample):
    """Expected calibration error of the predicted class over 15 confidence bins of equal width (Guo et al., 2017)."""

    higher_is_better = False
    reduce = staticmethod(ece)


class AdaptiveECE(_PerExample):
    """As `ECE`, over 15 bins of equally many examples (Nguyen & O'Connor, 2015)."""

    higher_is_better = False
    reduce = staticmethod(adaptive_ece)


class AURC(_PerExample):
    """Area under the risk-coverage curve: the error rate on the n surest examples, averaged over n = 1..N.

    Confidence is the maximum probability (Geifman & El-Yaniv, 2017). Examples of equal confidence count as in random
    order: the expected number of errors among the n surest is used.
    """

    higher_is_better = False
    reduce = staticmethod(aurc)


class CoverageAtRisk(_PerExample):
    """Largest share of examples, the surest ones, of which a share ``risk`` at most is wrong; 0 where there is none.

    Confidence is the maximum probability (Geifman & El-Yaniv, 2017). As by a threshold, examples of equal confidence
    are decided together.
    """

    higher_is_better = True

    def __init__(self, risk: float = 0.05, of: Literal["ensemble", "members"] = "ensemble", **settings) -> None:
        super().__init__(of, **settings)
        if isinstance(risk, bool) or not isinstance(risk, int | float) or not 0 <= risk < 1:
            raise UserError(f"risk is {risk!r}, but must be a number from 0 to 1, 1 itself left out.")
        self.reduce = partial(coverage_at_risk, risk=risk)


class ClasswiseECE(EnsembleMetric):
    """Mean over classes of the calibration error of that class's probability, 15 equal bins (Kull et al., 2019)."""

    higher_is_better = False

    def __init__(self, num_classes: int, **settings) -> None:
        super().__init__(**settings)
        for name in Bins._fields:
            self.add_state(name, torch.zeros(BINS, num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in members' logits (M, B, K) and labels (B,).

        Raises:
            UserError: NaN or an infinity among the logits.
        """
        bins = classwise_bins(log_mean(logits), labels)
        self.count += bins.count
        self.confidence += bins.confidence
        self.correct += bins.correct

    def compute(self) -> Tensor:
        """Compute the metric, float64."""
        return Bins(self.count, self.confidence, self.correct).error.mean()
