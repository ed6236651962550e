"""K classes: the outputs are their logits."""

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from ensembles.likelihoods.base import Likelihood
from ensembles.metrics import ECE, NLL, Accuracy
from ensembles.metrics.summary import Summary
from ensembles.training.recipe import Recipe


class Categorical(Likelihood):
    """Softmax over K classes; the recipe says whether labels are smoothed and which loss is taken."""

    monitor = ("val/acc", "max")

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe | None = None) -> Tensor:
        """As `Likelihood.loss`; targets can also be each class's share, (B, K) or (M, B, K)."""
        each = outputs.shape if targets.is_floating_point() else outputs.shape[:2]
        criterion = recipe.criterion if recipe else F.cross_entropy
        return criterion(outputs.flatten(0, 1), targets.expand(each).flatten(0, 1))

    def validation_metrics(self) -> MetricCollection:
        return MetricCollection({"acc": Accuracy(), "nll": NLL(), "ece": ECE()})

    def summary(self, **settings: bool) -> Summary:
        return Summary(**settings)
