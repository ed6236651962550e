"""What a network's outputs say of its target: of a class, or of a number."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal
from torchmetrics import Metric, MetricCollection

from ensembles.errors import UserError
from ensembles.metrics import ECE, NLL, Accuracy
from ensembles.metrics.regression import RegressionScores, RegressionSummary
from ensembles.metrics.summary import Summary

Criterion = Callable[[Tensor, Tensor], Tensor]

__all__ = ["Categorical", "Gaussian", "Likelihood", "SquaredError"]


class Likelihood(ABC):
    """How K outputs of a network are a distribution over targets.

    Attributes:
        monitor: the validation metric that tells the best epoch, and whether it is the ``max`` or the ``min``.
    """

    monitor: tuple[str, str]

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, criterion: Criterion = F.cross_entropy) -> Tensor:
        """Compute the mean loss over members and examples.

        Args:
            outputs: (M, B, K).
            targets: (B,) for all members alike, or (M, B).
            criterion: of classes the loss of logits (N, K) on labels (N,) or shares (N, K).
        """

    @abstractmethod
    def validation_metrics(self) -> Metric | MetricCollection:
        """Make the ensemble's metrics that are followed in training, updated with outputs (M, B, K) and targets (B,).

        They compute a dictionary.
        """

    @abstractmethod
    def summary(self, **settings: bool) -> Summary | RegressionSummary:
        """Make what takes in the predictions on each set and reduces them to results.

        Args:
            settings: of the evaluation, as `ensembles.metrics.Summary` takes them.
        """


class Regression(Likelihood):
    """A number is the target: outputs have a mean, and where the likelihood says so a variance.

    A network's own numbers are targets less their mean, over their deviation; means, variances, losses' targets and
    results are in the target's unit.

    Args:
        target_mean, target_sd: of the training targets; a data set that knows them says so.

    Raises:
        UserError: target_sd is not above 0.
    """

    outputs: int  # of a network

    def __init__(self, target_mean: float = 0.0, target_sd: float = 1.0) -> None:
        if not 0 < target_sd < float("inf"):
            raise UserError(f"data.likelihood.target_sd is {target_sd!r}, but must be a number above 0.")
        self.target_mean, self.target_sd = target_mean, target_sd

    @abstractmethod
    def moments(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute mean and variance of each member's prediction, (..., K) -> (...) each; no variance is None."""

    def mean(self, outputs: Tensor) -> Tensor:
        """Compute the mean in the target's unit."""
        return outputs[..., 0] * self.target_sd + self.target_mean

    def validation_metrics(self) -> RegressionScores:
        return RegressionScores(self.moments)

    def summary(self, **settings: bool) -> RegressionSummary:
        if settings.get("temperature_scaling"):
            raise UserError(
                "evaluation.temperature_scaling scales classes' logits, and numbers have none: set it to false."
            )
        return RegressionSummary(self.moments)


class Categorical(Likelihood):
    """Softmax over K classes; the recipe's criterion says whether labels are smoothed and which loss is taken."""

    monitor = ("val/acc", "max")

    def loss(self, outputs: Tensor, targets: Tensor, criterion: Criterion = F.cross_entropy) -> Tensor:
        """Compute it as `Likelihood.loss` says; targets can also be each class's share, (B, K) or (M, B, K)."""
        each = outputs.shape if targets.is_floating_point() else outputs.shape[:2]
        return criterion(outputs.flatten(0, 1), targets.expand(each).flatten(0, 1))

    def validation_metrics(self) -> MetricCollection:
        return MetricCollection({"acc": Accuracy(), "nll": NLL(), "ece": ECE()})

    def summary(self, **settings: bool) -> Summary:
        return Summary(**settings)


LEAST_VARIANCE = 1e-6  # a learned variance, as in Deep Ensembles


class Gaussian(Regression):
    """Normal distribution around the mean; a member's loss is its negative log-likelihood, in nats.

    Args:
        sd: of the noise, in the target's unit; None learns it, point by point, as a second output whose softplus is
            the variance (Deep Ensembles, Lakshminarayanan et al., 2017, section 2.2.1).
        target_mean, target_sd: see `Regression`.

    Raises:
        UserError: sd is no positive number.
    """

    monitor = ("val/nll", "min")

    def __init__(self, sd: float | None = None, target_mean: float = 0.0, target_sd: float = 1.0) -> None:
        super().__init__(target_mean, target_sd)
        if sd is not None and (isinstance(sd, bool) or not isinstance(sd, int | float) or not 0 < sd < float("inf")):
            raise UserError(f"data.likelihood.sd is {sd!r}, but must be a number above 0, or null to learn it.")
        self.sd = sd
        self.outputs = 2 if sd is None else 1

    def moments(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(outputs)
        if self.sd is None:
            return mean, (F.softplus(outputs[..., 1]) + LEAST_VARIANCE) * self.target_sd**2
        return mean, torch.full_like(mean, self.sd**2)

    def loss(self, outputs: Tensor, targets: Tensor, criterion: Criterion = F.cross_entropy) -> Tensor:
        mean, variance = self.moments(outputs)
        # without its checks of values, for which a GPU would be waited for
        return -Normal(mean, variance.sqrt(), validate_args=False).log_prob(targets).mean()


class SquaredError(Regression):
    """Mean squared error of the network's own numbers; it has no density, so there is no NLL among the results."""

    monitor = ("val/mse", "min")
    outputs = 1

    def moments(self, outputs: Tensor) -> tuple[Tensor, None]:
        return self.mean(outputs), None

    def loss(self, outputs: Tensor, targets: Tensor, criterion: Criterion = F.cross_entropy) -> Tensor:
        mean = self.mean(outputs)
        return F.mse_loss(mean, targets.expand(mean.shape)) / self.target_sd**2
