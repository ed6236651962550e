"""A number, of which a network predicts the mean alone."""

import torch.nn.functional as F
from torch import Tensor

from ensembles.likelihoods.base import Regression
from ensembles.training.recipe import Recipe


class SquaredError(Regression):
    """Mean squared error; it has no density, so there is no NLL among the results."""

    monitor = ("val/mse", "min")
    outputs = 1

    def moments(self, outputs: Tensor) -> tuple[Tensor, None]:
        return outputs[..., 0], None

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe | None = None) -> Tensor:
        mean = outputs[..., 0]
        return F.mse_loss(mean, targets.expand(mean.shape))
