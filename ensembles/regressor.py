"""A trained ensemble of numbers for use from Python: ``ensembles.load("runs/.../last.ckpt").predict(points)``."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ensembles.errors import UserError
from ensembles.likelihoods import Regression
from ensembles.methods.base import Ensemble
from ensembles.metrics.regression import mixture_sd


@dataclass(frozen=True)
class Forecast:
    """What an ensemble says of B points.

    Attributes:
        mean: (B,), over the members.
        sd: (B,), of the mixture of the members' predictions; without a density the members' spread alone.
        members: (M, B), the members' means.
        member_sd: (M, B), the members' own standard deviations; None without a density.
    """

    mean: Tensor
    sd: Tensor
    members: Tensor
    member_sd: Tensor | None


class Regressor(nn.Module):
    """An ensemble with its likelihood and its inputs' normalisation: points in, numbers out.

    Attributes:
        ensemble: points (B, D, 1, 1), normalised -> outputs (M, B, K).
        likelihood: how outputs are a distribution over numbers.
    """

    def __init__(self, ensemble: Ensemble, likelihood: Regression, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.ensemble, self.likelihood = ensemble.eval(), likelihood
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, points: Tensor | np.ndarray) -> Tensor:
        """Outputs (M, B, K) of points (B, D), or (B,) where there is one feature.

        Raises:
            UserError: points with another number of features than the network was trained on.
        """
        x = as_tensor(points, "points").float()
        x = x[:, None] if x.dim() == 1 else x
        features = len(self.mean)
        if x.shape[1:] != (features,):
            raise UserError(f"points are {tuple(x.shape)}, but the network takes ('B', {features}).")
        x = (x.to(self.mean.device) - self.mean) / self.std
        return self.ensemble(x.view(-1, *self.ensemble.input_shape))

    @torch.inference_mode()
    def predict(self, points: Tensor | np.ndarray, details: bool = False) -> Tensor | Forecast:
        """The mean over the members (B,); with ``details`` the members and the uncertainty too, as a `Forecast`."""
        means, variances = self.likelihood.moments(self(points))
        if not details:
            return means.mean(0)
        own = None if variances is None else variances.sqrt()
        return Forecast(means.mean(0), mixture_sd(means, variances), means, own)

    def member(self, m: int) -> nn.Module:
        """Member m as an ordinary network on normalised points, (B, D, 1, 1) -> (B, K)."""
        return self.ensemble.member(m)


def as_tensor(values: Tensor | np.ndarray, what: str) -> Tensor:
    """A tensor or a numpy array as a tensor.

    Args:
        what: the values' name, for the error.

    Raises:
        UserError: something else, or an array of what is no number.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        kind = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise UserError(f"{what} are {kind}, but must be a tensor or a numpy array of numbers.")
    return torch.from_numpy(
        np.array(values, values.dtype.newbyteorder("="))
    )  # torch takes neither views nor big-endians
