"""The training loss: its mean over an epoch, and whether it is a number."""

import math

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ensembles.errors import UserError

REMEDY = "try a smaller recipe.optimizer.lr, a warm-up (recipe.warmup_epochs=1) or trainer.gradient_clip_val=1"
EVERY = 50  # steps between two looks, since a look waits for the device


class Losses(Callback):
    """Log the mean loss of every epoch as ``train/loss``, and stop when a loss is not a number or infinite.

    The sum so far is kept in checkpoints, so the mean of an epoch that was interrupted is that of the whole epoch.
    """

    def __init__(self) -> None:
        self.sum, self.steps = 0.0, 0
        self._unseen: list[tuple[Tensor, float]] = []  # the loss and the learning rate of each step since the last look
        self._rate = math.nan

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.sum, self.steps, self._unseen = 0.0, 0, []

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch, batch_idx: int) -> None:
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs, batch, batch_idx: int) -> None:
        self._unseen.append((outputs["loss"], self._rate))
        if len(self._unseen) >= EVERY or batch_idx + 1 == trainer.num_training_batches:
            self.look(trainer.current_epoch)

    def look(self, epoch: int) -> None:
        """Add up the losses since the last look.

        Raises:
            UserError: one of them is not finite; the sentence names the step and what to try.
        """
        if not self._unseen:
            return
        values = torch.stack([loss.detach() for loss, _ in self._unseen]).tolist()
        rates, self._unseen = [rate for _, rate in self._unseen], []
        for value, rate in zip(values, rates, strict=True):
            self.steps += 1
            if not math.isfinite(value):
                raise UserError(
                    f"The loss was {value} in epoch {epoch + 1}, step {self.steps}, at a learning rate of {rate:.3g}: "
                    f"{REMEDY}; the last checkpoint before it is kept."
                )
            self.sum += value

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.look(trainer.current_epoch)
        module.log("train/loss", self.sum / self.steps, sync_dist=True, batch_size=1)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        self.look(trainer.current_epoch)
        mean = self.sum
        if trainer.world_size > 1:
            mean = trainer.strategy.reduce(torch.tensor(mean, device=module.device), reduce_op="mean").item()
        checkpoint["losses"] = {"sum": mean, "steps": self.steps}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        kept = checkpoint.get("losses", {"sum": 0.0, "steps": 0})  # none in what a finished older run has left
        self.sum, self.steps = kept["sum"], kept["steps"]
