"""What all methods do alike: train M members on what they are dealt, and hand their logits to the metrics."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from ensembles import metrics
from ensembles.dealing import Deal
from ensembles.errors import UserError
from ensembles.members import Ensemble
from ensembles.training.gather import gather
from ensembles.training.recipe import Recipe

Backbone = Callable[[], nn.Module]


class Method(LightningModule):
    """An ensemble, how examples are dealt to its members, and its loss; a new method is a subclass that fills these in.

    Attributes:
        ensemble: answers where member m's weights come from.
        deal: answers which examples member m sees in a training step.
        recipe: optimiser and schedule; set before training.
        keeps_pretrained: whether members start from the backbone's numbers, so that pretrained ones are of use.
    """

    recipe: Recipe | None = None
    keeps_pretrained = True

    def __init__(self, ensemble: Ensemble, deal: Deal | None = None, reduction: Literal["sum", "mean"] = "sum") -> None:
        super().__init__()
        if reduction not in ("sum", "mean"):
            raise UserError(f"method.reduction is {reduction!r}, but must be sum or mean: the loss over the members.")
        self.ensemble = ensemble.to(memory_format=torch.channels_last)
        self.deal = deal or Deal()
        self.reduction = reduction
        self._validated: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) of a common batch (B, *input_shape), or of each member's own, (M, B, *input_shape)."""
        if x.dim() == len(self.ensemble.input_shape) + 1:
            return self.ensemble(_channels_last(x))
        return self.ensemble.each(_channels_last(x))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Each member's mean loss, by default cross-entropy, summed over the members or averaged.

        Args:
            logits: (M, B, K).
            labels: (B,) for all members alike, or (M, B); or each class's share, (B, K) or (M, B, K).
        """
        M = logits.shape[0]
        each = logits.shape if labels.is_floating_point() else logits.shape[:2]
        criterion = self.recipe.criterion if self.recipe else F.cross_entropy
        mean = criterion(logits.flatten(0, 1), labels.expand(each).flatten(0, 1))
        return M * mean if self.reduction == "sum" else mean

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train/loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=x.shape[0])
        return loss

    def configure_optimizers(self):
        return self.recipe.optimizers(self.parameter_groups(), self.trainer.estimated_stepping_batches)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.recipe.penalise(optimizer)

    def parameter_groups(self) -> list[dict]:
        """Parameters with what differs from the recipe for them, as torch.optim takes them."""
        return [{"params": list(self.parameters())}]

    def on_validation_epoch_start(self) -> None:
        self._validated = []

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The members' logits (M, B, K), float32."""
        x, y = batch
        logits = self(x).float()
        self._validated.append((logits, y))
        return logits

    def on_validation_epoch_end(self) -> None:
        logits, labels = gather(self._validated)
        self._validated = []
        values = {f"val/{key}": value for key, value in metrics.scores(logits, labels, ("acc", "nll", "ece")).items()}
        self.log_dict(values, rank_zero_only=False, sync_dist=False)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """The members' logits (M, B, K), float32."""
        return self(batch[0]).float()


def _channels_last(x: Tensor) -> Tensor:
    """Channels-last images, on CPUs and GPUs the faster layout for convolutions; other inputs as they are."""
    if x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x
