"""What all metrics start from: members' logits, the predictive distribution in float64, and its torchmetrics base."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from ensembles.errors import UserError

CHUNK = 2**18  # float64 numbers worked on at a time: few enough to stay in cache, and to never copy ImageNet's whole


def require_finite(logits: Tensor, which: str = "The logits") -> None:
    """Refuse logits that a metric would turn into a number that looks right.

    Raises:
        UserError: NaN or an infinity among the logits, named by ``which``.
    """
    if not torch.isfinite(logits).all():
        raise UserError(
            f"{which} hold NaN or infinity, so nothing can be measured: "
            "if the training loss diverged, lower recipe.optimizer.lr, else look for broken images."
        )


def chunks(logits: Tensor) -> Iterator[Tensor]:
    """Split logits (M, N, K) into pieces (M, n, K), each in float64."""
    members, _, classes = logits.shape
    for part in logits.split(max(1, CHUNK // (members * classes)), dim=1):
        yield part.double()


def log_mean(logits: Tensor, temperatures: Sequence[float] | None = None) -> Tensor:
    """Compute the log of the members' mean softmax: (M, N, K) -> (N, K), float64.

    The log-sum-exp of the members' log-probabilities minus log M, so it is exact where a probability underflows to 0.
    With M ``temperatures``, each member's logits are divided by its own.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    require_finite(logits)
    log_members = math.log(len(logits))
    parts = []
    for part in chunks(logits):
        if temperatures is not None:
            part = part / part.new_tensor(temperatures).view(-1, 1, 1)
        parts.append(part.log_softmax(-1).logsumexp(0) - log_members)
    return torch.cat(parts).clamp_(max=0.0)  # rounding must not make a probability exceed 1


class Predicted(NamedTuple):
    """The members' logits on a set of examples, of a regression their outputs.

    Attributes:
        logits: (M, N, K).
        labels: (N,), among the K classes; -1 in an out-of-distribution set; of a regression the numbers to predict.
        covered_classes: the classes that a shifted set has, where not all; several of the K that count as one there
            stand in a list of their own.
        valid_labels: (N, K), bool: which classes are right for each example, where that is more than its label says.
        groups: for frames of videos, each group's positions in the set: the frame in question and those like it.
        features: of points, (N, D).
    """

    logits: Tensor
    labels: Tensor
    covered_classes: Sequence[int | Sequence[int]] | None = None
    valid_labels: Tensor | None = None
    groups: Sequence[Sequence[int]] | None = None
    features: Tensor | None = None

    def check(self, name: str, labelled: bool = True) -> None:
        """Refuse what cannot be measured.

        Raises:
            UserError: no examples, NaN or an infinity, or labels that do not fit the logits.
        """
        _, images, classes = self.logits.shape
        if images == 0:
            raise UserError(f"The set {name!r} is empty: give it at least one image, or leave it out.")
        require_finite(self.logits, f"The logits of the set {name!r}")
        if self.labels.shape != (images,):
            raise UserError(f"The set {name!r} has {images} images but {len(self.labels)} labels: give each one.")
        low, high = self.labels.min().item(), self.labels.max().item()
        if labelled and not 0 <= low <= high < classes:
            raise UserError(
                f"The set {name!r} has labels from {low} to {high}, but the network tells {classes} classes apart: "
                f"its labels must lie from 0 to {classes - 1}."
            )


def prefixed(prefix: str, values: Mapping) -> dict:
    """Put flat results below a key."""
    return {f"{prefix}/{key}": value for key, value in values.items()}


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
