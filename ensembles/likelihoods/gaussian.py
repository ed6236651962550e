"""A number with normal noise: the outputs are its mean and, where it is learned, its variance."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal

from ensembles.errors import UserError
from ensembles.likelihoods.base import Regression
from ensembles.training.recipe import Recipe

LEAST = 1e-6  # a learned variance, as in Deep Ensembles


class Gaussian(Regression):
    """Normal distribution around the mean; a member's loss is its negative log-likelihood, in nats.

    Args:
        sd: of the noise; None learns it, point by point, as a second output whose softplus is the variance (Deep
            Ensembles, Lakshminarayanan et al., 2017, section 2.2.1).

    Raises:
        UserError: sd is no positive number.
    """

    monitor = ("val/nll", "min")

    def __init__(self, sd: float | None = None) -> None:
        if sd is not None and (isinstance(sd, bool) or not isinstance(sd, int | float) or not 0 < sd < float("inf")):
            raise UserError(f"data.likelihood.sd is {sd!r}, but must be a number above 0, or null to learn it.")
        self.sd = sd
        self.outputs = 2 if sd is None else 1

    def moments(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean = outputs[..., 0]
        if self.sd is None:
            return mean, F.softplus(outputs[..., 1]) + LEAST
        return mean, torch.full_like(mean, self.sd**2)

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe | None = None) -> Tensor:
        mean, variance = self.moments(outputs)
        # without its checks of values, for which a GPU would be waited for
        return -Normal(mean, variance.sqrt(), validate_args=False).log_prob(targets).mean()
