"""Lightning callbacks beside a run's steps: losses and metrics, seeds, predictions to collect, compiled passes."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities.distributed import gather_all_tensors

from ensembles.errors import UserError
from ensembles.files import write_rows
from ensembles.rng import seed_of

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
            self.look(trainer)

    def look(self, trainer: Trainer) -> None:
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
            value *= trainer.accumulate_grad_batches  # by which Lightning has divided it
            if not math.isfinite(value):
                raise UserError(
                    f"The loss was {value} in epoch {trainer.current_epoch + 1}, step {self.steps}, at a learning rate "
                    f"of {rate:.3g}: {REMEDY}; the last checkpoint before it is kept."
                )
            self.sum += value

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.look(trainer)
        module.log("train/loss", self.sum / self.steps, sync_dist=True, batch_size=1)

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        self.look(trainer)
        mean = self.sum
        if trainer.world_size > 1:
            mean = trainer.strategy.reduce(torch.tensor(mean, device=module.device), reduce_op="mean").item()
        checkpoint["losses"] = {"sum": mean, "steps": self.steps}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        kept = checkpoint.get("losses", {"sum": 0.0, "steps": 0})  # none in what a finished older run has left
        self.sum, self.steps = kept["sum"], kept["steps"]


class SeededSteps(Callback):
    """Seed what a network draws in a step (dropout, say) by the step, so that a resumed run draws the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch, batch_idx: int) -> None:
        seed = seed_of(self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank)
        # torch's own function, which seeds all devices, takes longer than a small network's layer
        (torch.default_generator if module.device.type == "cpu" else torch).manual_seed(seed)


class History(Callback):
    """Write every epoch's metrics to a CSV file; checkpoints keep them, so a resumed run's has no gap or double."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch, "lr": rate, **metrics})
        if trainer.is_global_zero:
            columns = dict.fromkeys(key for row in self.rows for key in row)
            write_rows(self.path, [columns, *([row.get(key, "") for key in columns] for row in self.rows)])

    def state_dict(self) -> dict:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]


def gather(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join a process's batches of (logits (M, b, K), labels (b,)), then the processes', which hold successive slices.

    Returns:
        logits (M, N, K) and labels (N,) on the CPU, the same in every process; no example twice, none left out.
    """
    logits = torch.cat([logits for logits, _ in parts], dim=1)
    labels = torch.cat([labels for _, labels in parts])
    if dist.is_available() and dist.is_initialized():
        logits = torch.cat(gather_all_tensors(logits), dim=1)
        labels = torch.cat(gather_all_tensors(labels))
    return logits.cpu(), labels.cpu()


class Collector(Callback):
    """Hand over each set that is validated or tested on as soon as its last batch is through.

    Args:
        take: called in every process with the set's name and all processes' logits (M, N, K) and labels (N,).
        metric: from a set's name and its first logits (M, b, K) to what reduces its batches instead, or None.
        take_reduced: called in every process with the set's name and what its metric has computed over all processes.
    """

    def __init__(
        self,
        take: Callable[[str, Tensor, Tensor], None],
        metric: Callable[[str, Tensor], Metric | MetricCollection | None] = lambda name, logits: None,
        take_reduced: Callable[[str, dict[str, Tensor]], None] = lambda name, values: None,
    ) -> None:
        self.take, self.metric, self.take_reduced = take, metric, take_reduced
        self._parts: list[tuple[Tensor, Tensor]] = []
        self._metric: Metric | MetricCollection | None = None

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, logits: Tensor, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        batches = trainer.num_val_batches[dataloader_idx]
        self._collect("val", logits, batch[1], first=batch_idx == 0, last=batch_idx + 1 == batches)

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, logits: Tensor, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        name = list(trainer.datamodule.test_sets)[dataloader_idx]
        batches = trainer.num_test_batches[dataloader_idx]
        self._collect(name, logits, batch[1], first=batch_idx == 0, last=batch_idx + 1 == batches)

    def _collect(self, name: str, logits: Tensor, labels: Tensor, first: bool, last: bool) -> None:
        if first:
            self._metric = self.metric(name, logits)
        if self._metric is None:
            self._parts.append((logits, labels))
        else:
            self._metric.update(logits, labels)
        if last and self._metric is None:
            parts, self._parts = self._parts, []
            self.take(name, *gather(parts))
        elif last:
            self.take_reduced(name, self._metric.compute())
            self._metric = None


class Compiled(Callback):
    """Train with the members' passes compiled; the ensemble itself stays as it is, and so do its checkpoints.

    Args:
        least: steps of a training that is worth compiling for; a shorter one is left as it is.
        options: as `torch.compile` takes them.
    """

    def __init__(self, least: int = 0, **options) -> None:
        self.least, self.options = least, options

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.estimated_stepping_batches >= self.least:
            ensemble = module.ensemble
            ensemble.compile(**self.options)
            ensemble.each = torch.compile(ensemble.each, **self.options)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        module.ensemble._compiled_call_impl = None
        vars(module.ensemble).pop("each", None)
