"""How well numbers are predicted: metrics of members' means and variances (M, N), in float64, and targets (N,)."""

import math

from torch import Tensor


def mse(means: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of the members' mean."""
    return (means.mean(0) - targets).square().mean()


def nll(means: Tensor, variances: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood, nats, of the equal mixture of the members' normal distributions."""
    alone = -((targets - means).square() / variances + variances.log() + math.log(2 * math.pi)) / 2
    return math.log(len(means)) - alone.logsumexp(0).mean()


def variance(means: Tensor) -> Tensor:
    """Mean variance of the members' means around theirs.

    The members' mean error less the ensemble's (Krogh & Vedelsby, 1995): what averaging gains.
    """
    return means.var(0, correction=0).mean()


def scores(means: Tensor, variances: Tensor | None, targets: Tensor) -> dict[str, float]:
    """mse, rmse and, where there are variances, nll of the ensemble."""
    error = mse(means, targets)
    found = {"mse": error, "rmse": error.sqrt()}
    if variances is not None:
        found["nll"] = nll(means, variances, targets)
    return {name: value.item() for name, value in found.items()}


def mixture_sd(means: Tensor, variances: Tensor | None) -> Tensor:
    """Standard deviation of the equal mixture of the members' predictions, (M, N) -> (N,)."""
    spread = means.var(0, correction=0)
    return (spread if variances is None else spread + variances.mean(0)).sqrt()


def bias_and_variance(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Squared bias and variance over training sets; their sum is the mean squared error (MIMO, section 2.1).

    Args:
        predictions: (S, N) of the networks of S training sets.
        targets: (N,), with their noise, which is so a part of the bias.
    """
    mean = predictions.mean(0)
    return (mean - targets).square().mean(), (predictions - mean).square().mean()
