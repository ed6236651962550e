"""What a run keeps while it trains: its metrics over time, and in checkpoints what they need to be read again."""

import csv
import io
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from ensembles.files import write_text
from ensembles.keyed import seed_of
from ensembles.training.checkpoints import ABOUT, FORMAT


class KeyedSteps(Callback):
    """Seed what a network draws in a step (dropout, say) by the step, so that a resumed run draws the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank))


class History(Callback):
    """Metrics of every epoch in a CSV file; kept in checkpoints too, so a resumed run's file has no gap or double."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch, "lr": rate, **metrics})
        if trainer.is_global_zero:
            text = io.StringIO()
            columns = dict.fromkeys(key for row in self.rows for key in row)
            writer = csv.DictWriter(text, columns)
            writer.writeheader()
            writer.writerows(self.rows)
            write_text(self.path, text.getvalue())

    def state_dict(self) -> dict:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]


class About(Callback):
    """Put into each checkpoint how to build its network again and how its inputs were normalised."""

    def __init__(self, description: dict) -> None:
        self.description = description

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        data = trainer.datamodule
        checkpoint[ABOUT] = {
            **self.description,
            "format": FORMAT,
            "class_names": [str(name) for name in data.class_names],
            "mean": [float(value) for value in data.mean],
            "std": [float(value) for value in data.std],
        }


class KeepEpochs(Callback):
    """Keep a checkpoint of the start and of every k-th epoch, ``<epochs done>.ckpt``, for what follows a training."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._keep(trainer, 0)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every == 0:
            self._keep(trainer, trainer.current_epoch + 1)

    def _keep(self, trainer: Trainer, done: int) -> None:
        trainer.save_checkpoint(self.folder / f"{done:04d}.ckpt")
