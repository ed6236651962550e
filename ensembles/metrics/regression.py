"""How well numbers are predicted: metrics of members' means and variances (M, N), in float64, and targets (N,)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics.base import EnsembleMetric, Predicted, prefixed, require_finite


def log_likelihood(means: Tensor, variances: Tensor, targets: Tensor) -> Tensor:
    """Compute each target's log-density, nats, under the equal mixture of the members' normal distributions, (N,)."""
    each = -((targets - means).square() / variances + variances.log() + math.log(2 * math.pi)) / 2
    return each.logsumexp(0) - math.log(len(means))


def scores(means: Tensor, variances: Tensor | None, targets: Tensor) -> dict[str, float]:
    """Compute mse and rmse of the members' mean and, where there are variances, nll of the members' mixture, nats."""
    error = (means.mean(0) - targets).square().mean()
    found = {"mse": error, "rmse": error.sqrt()}
    if variances is not None:
        found["nll"] = -log_likelihood(means, variances, targets).mean()
    return {name: value.item() for name, value in found.items()}


def mixture_sd(means: Tensor, variances: Tensor | None) -> Tensor:
    """Compute the standard deviation of the equal mixture of the members' predictions, (M, N) -> (N,)."""
    spread = means.var(0, correction=0)
    return (spread if variances is None else spread + variances.mean(0)).sqrt()


def bias_and_variance(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute squared bias and variance over training sets, whose sum is the mean squared error (MIMO, section 2.1).

    Args:
        predictions: (S, N) of the networks of S training sets.
        targets: (N,), with their noise, which is so a part of the bias.
    """
    mean = predictions.mean(0)
    return (mean - targets).square().mean(), (predictions - mean).square().mean()


Moments = tuple[Tensor, Tensor | None]  # the members' means and, where they have them, variances, (M, N)


class RegressionScores(EnsembleMetric):
    """mse, rmse and, where there are variances, nll of the ensemble, as a dictionary.

    Args:
        moments: from outputs (M, B, K) to the members' means and variances, (M, B) each, or None instead of variances.
    """

    def __init__(self, moments: Callable[[Tensor], Moments], **settings) -> None:
        super().__init__(**settings)
        self.moments = moments
        for name in ("squared_error", "log_likelihood", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("has_density", torch.tensor(0), dist_reduce_fx="max")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in members' outputs (M, B, K) and targets (B,)."""
        means, variances = self.moments(outputs.double())
        self.squared_error += (means.mean(0) - targets).square().sum()
        self.count += len(targets)
        if variances is not None:
            self.log_likelihood += log_likelihood(means, variances, targets).sum()
            self.has_density += 1

    def compute(self) -> dict[str, Tensor]:
        """Compute the metrics, float64."""
        error = self.squared_error / self.count
        found = {"mse": error, "rmse": error.sqrt()}
        return found | {"nll": -self.log_likelihood / self.count} if self.has_density else found


class RegressionSummary:
    """Everything that the members' outputs tell of numbers.

    Args:
        moments: from outputs (M, N, K) to the members' `Moments`.

    Attributes:
        sets: the predictions that were taken in, by the set's name.
    """

    def __init__(self, moments: Callable[[Tensor], Moments]) -> None:
        self._moments = moments
        self.sets: dict[str, Predicted] = {}

    def add(self, name: str, predicted: Predicted) -> None:
        """Take in a set: val, train, test or shift/<set>, in any order.

        Raises:
            UserError: a set that is empty or holds NaN or an infinity, or targets that are not one for each point.
        """
        points = predicted.logits.shape[1]
        if not points or predicted.labels.shape != (points,):
            raise UserError(f"The set {name!r} has {points} points and {len(predicted.labels)} targets: give each one.")
        require_finite(predicted.logits, f"The outputs on the set {name!r}")
        self.sets[name] = predicted

    def metric(self, name: str, outputs: Tensor) -> None:
        """Return None: of every set all outputs are needed."""

    def moments(self, name: str) -> Moments:
        """Compute means and variances of a set, float64."""
        return self._moments(self.sets[name].logits.double())

    def results(self) -> dict[str, float | list[float]]:
        """Compute all results under flat keys, ready for JSON; in the target's unit, its square, and nats.

        Returns:
            ``test/<metric>`` of the ensemble, ``members/<metric>``, a list, of each member alone, ``train/<metric>``
            and ``shift/<set>/<metric>``, for mse, rmse and, where the likelihood has a density, nll; for M > 1
            ``diversity/variance`` of the members' means around theirs, by
            which the members' mean mse exceeds the ensemble's (Krogh & Vedelsby, 1995).

        Raises:
            UserError: no test set.
        """
        if "test" not in self.sets:
            raise UserError("There is no test set among the predictions, so nothing can be measured.")
        means, variances = self.moments("test")
        targets = self.sets["test"].labels.double()
        results = prefixed("test", scores(means, variances, targets))
        each = [scores(means[[m]], None if variances is None else variances[[m]], targets) for m in range(len(means))]
        results |= {f"members/{key}": [member[key] for member in each] for key in each[0]}
        if len(means) > 1:
            results["diversity/variance"] = means.var(0, correction=0).mean().item()
        for name, predicted in self.sets.items():
            if name not in ("test", "val"):
                results |= prefixed(name, scores(*self.moments(name), predicted.labels.double()))
        return results
