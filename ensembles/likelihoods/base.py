"""What methods, evaluation and checkpoints ask of a likelihood, so that none of them knows which it is."""

from abc import ABC, abstractmethod

from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ensembles.errors import UserError
from ensembles.metrics.regression import RegressionScores
from ensembles.metrics.regression_summary import RegressionSummary
from ensembles.metrics.summary import Summary
from ensembles.training.recipe import Recipe


class Likelihood(ABC):
    """How K outputs of a network are a distribution over targets.

    Attributes:
        monitor: the validation metric that tells the best epoch, and whether it is the ``max`` or the ``min``.
    """

    monitor: tuple[str, str]

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe | None = None) -> Tensor:
        """The mean loss over members and examples.

        Args:
            outputs: (M, B, K).
            targets: (B,) for all members alike, or (M, B).
            recipe: how the network is trained, where the loss is a part of that.
        """

    @abstractmethod
    def validation_metrics(self) -> Metric | MetricCollection:
        """Make the ensemble's metrics that are followed in training, updated with outputs (M, B, K) and targets (B,).

        They compute a dictionary.
        """

    @abstractmethod
    def summary(self, **settings: bool) -> Summary | RegressionSummary:
        """What takes in the predictions on each set and reduces them to results.

        Args:
            settings: of the evaluation, as `ensembles.metrics.Summary` takes them.
        """


class Regression(Likelihood):
    """A number is the target: outputs have a mean, and where the likelihood says so a variance."""

    outputs: int  # of a network

    @abstractmethod
    def moments(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and variance of each member's prediction, (..., K) -> (...) each; no variance is None."""

    def validation_metrics(self) -> RegressionScores:
        return RegressionScores(self.moments)

    def summary(self, **settings: bool) -> RegressionSummary:
        if settings.get("temperature_scaling"):
            raise UserError(
                "evaluation.temperature_scaling scales classes' logits, and numbers have none: set it to false."
            )
        return RegressionSummary(self.moments)
