"""What all methods do alike: train M members on what they are dealt, and hand their logits to the metrics."""

from collections.abc import Callable
from typing import Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from ensembles.dealing import Deal
from ensembles.errors import UserError
from ensembles.likelihoods import Categorical, Likelihood
from ensembles.members import Ensemble
from ensembles.members.layout import channels_last
from ensembles.training.recipe import Recipe

Backbone = Callable[[], nn.Module]


class Method(LightningModule):
    """An ensemble, how examples are dealt to its members, and its loss; a new method is a subclass that fills these in.

    Attributes:
        ensemble: answers where member m's weights come from.
        deal: answers which examples member m sees in a training step.
        likelihood: what a member's outputs say of its target.
        recipe: optimiser and schedule; set before training.
        memory_format: layout of images; channels-last is the faster one for convolutions.
        keeps_pretrained: whether members start from the backbone's numbers, so that pretrained ones are of use.
    """

    likelihood: Likelihood = Categorical()
    recipe: Recipe | None = None
    memory_format = torch.channels_last
    keeps_pretrained = True

    def __init__(self, ensemble: Ensemble, deal: Deal | None = None, reduction: Literal["sum", "mean"] = "sum") -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise UserError(f"method.reduction is {reduction!r}, but must be sum or mean: the loss over the members.")
        self.ensemble = channels_last(ensemble)
        self.deal = deal or Deal()
        self.reduction = reduction

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) of a common batch (B, *input_shape), or of each member's own, (M, B, *input_shape)."""
        common = x.dim() == len(self.ensemble.input_shape) + 1
        if x.dim() == 4:
            x = x.contiguous(memory_format=self.memory_format)
        return self.ensemble(x) if common else self.ensemble.each(x)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Each member's mean loss, by default cross-entropy, summed over the members or averaged.

        Args:
            logits: (M, B, K), of a regression the outputs.
            labels: (B,) for all members alike, or (M, B); or each class's share, (B, K) or (M, B, K).
        """
        mean = self.likelihood.loss(logits, labels, self.recipe)
        return logits.shape[0] * mean if self.reduction == "sum" else mean

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return self.loss(self(x), y)

    def configure_optimizers(self):
        return self.recipe.optimizers(self.parameter_groups(), self.trainer.estimated_stepping_batches)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.recipe.penalise(optimizer)

    def parameter_groups(self) -> list[dict]:
        """Parameters with what differs from the recipe for them, as torch.optim takes them."""
        return [{"params": list(self.parameters())}]

    def on_validation_epoch_start(self) -> None:
        self._validation = self.likelihood.validation_metrics().to(self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The members' logits (M, B, K), float32."""
        x, y = batch
        logits = self._logits(x)
        self._validation.update(logits, y)
        return logits

    def on_validation_epoch_end(self) -> None:
        values = {f"val/{key}": value for key, value in self._validation.compute().items()}
        self.log_dict(values, rank_zero_only=False, sync_dist=False)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """The members' logits (M, B, K), float32."""
        return self._logits(batch[0])

    def _logits(self, x: Tensor) -> Tensor:
        """Computed in single precision, whatever ``trainer.precision`` the training has: measures are of weights."""
        with torch.autocast(self.device.type, enabled=False):
            return self(x).float()
