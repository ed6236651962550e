"""When a training writes a checkpoint, of what, and how: each file is there whole or as it was before."""

import io
import os
import time
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from ensembles.checkpoints import ABOUT, FORMAT, read_checkpoint
from ensembles.errors import Interrupted, UserError
from ensembles.runs import Run
from ensembles.signals import INTERRUPTION
from ensembles.training.callbacks import REMEDY

AGREE_EVERY = 10  # steps; several processes wait for each other to agree


class DurableIO(TorchCheckpointIO):
    """Write checkpoints to the disk, each beside its place and then into it, and none whose weights are not numbers.

    Args:
        kept: where a file's forerunner is kept.
    """

    def __init__(self, kept: dict[Path, Path]) -> None:
        self.kept = kept

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: object = None) -> None:
        """Put the checkpoint into the file.

        Raises:
            UserError: a weight that is not finite; the file stays as it is.
            OSError: the disk is full or cannot be written; likewise.
        """
        path = Path(path)
        _require_finite(checkpoint, path)
        contents = io.BytesIO()
        torch.save(checkpoint, contents)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{os.getpid()}.{path.name}")
        try:
            with open(draft, "wb") as file:
                file.write(contents.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if path in self.kept and path.exists():
                _keep(path, self.kept[path])
            os.replace(draft, path)
        except OSError as error:
            error.filename = error.filename or str(path)
            raise
        finally:
            with suppress(OSError):
                draft.unlink()

    def load_checkpoint(self, path: str | Path, map_location: object = None, weights_only: bool | None = None) -> dict:
        """Read the file by `read_checkpoint`, however it is asked for."""
        return read_checkpoint(path)


def _keep(path: Path, kept: Path) -> None:
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        os.replace(path, kept)


def _require_finite(checkpoint: dict, path: Path) -> None:
    for name, value in checkpoint["state_dict"].items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"The weights are no longer finite ({name}, epoch {checkpoint['epoch'] + 1}, step "
                f"{checkpoint['losses']['steps']}): {REMEDY}; {path} is kept as it was."
            )


def _gathers(trainer: Trainer) -> bool:
    """Tell whether gradients have been gathered since the weights changed: they are in no checkpoint."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return batches % trainer.accumulate_grad_batches != 0 and batches < trainer.num_training_batches


class Checkpoints(Checkpoint):
    """Keep the last state of a training and its best.

    The last is saved after every epoch, within an epoch every so many minutes, and where the run is interrupted, which
    ends it there. All processes stop at the same step.

    Args:
        minutes: between two savings within an epoch.
        monitor: the metric that tells the best epoch, and whether by its ``max`` or ``min``; None where there is none.
        patience: epochs without a better one after which the training ends; None for never.
    """

    def __init__(self, run: Run, minutes: float, monitor: tuple[str, str] | None, patience: int | None = None) -> None:
        self.run, self.minutes, self.monitor, self.patience = run, minutes, monitor, patience
        self.best: float | None = None
        self.since_best = 0
        self.earlier_seconds = 0.0  # that the training took before this process went on with it
        self._began = time.monotonic()
        self._saved = time.monotonic()
        self._group: dist.ProcessGroup | None = None

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size > 1:
            self._group = dist.new_group(backend="gloo")  # on the CPU, so that no device is waited for

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        INTERRUPTION.hold()
        self._stop_if_patience_ends(trainer)  # as it had, where a training goes on that was at its end

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        INTERRUPTION.install()  # Lightning's own handler of SIGTERM has come in between

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs, batch, batch_idx: int) -> None:
        step, steps = batch_idx + 1, trainer.num_training_batches
        if step == steps or (trainer.world_size > 1 and trainer.global_step % AGREE_EVERY):
            return  # the last step's state is the epoch's end, or the validation before it
        self._save_if_asked(trainer, f"in epoch {trainer.current_epoch + 1} after step {step} of {steps}")

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        INTERRUPTION.install()
        self._save_if_asked(trainer, f"in epoch {trainer.current_epoch + 1} before its validation")

    def on_validation_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        self._save_if_asked(trainer, f"in epoch {trainer.current_epoch + 1} before its validation")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.monitor is not None:
            metric, way = self.monitor
            score = trainer.callback_metrics[metric].item()
            if self.best is None or (score > self.best if way == "max" else score < self.best):
                self.best, self.since_best = score, 0
                trainer.save_checkpoint(self.run.best)
            else:
                self.since_best += 1
        self._save(trainer)
        self._stop_if_patience_ends(trainer)
        (signum,) = self._agreed(INTERRUPTION.signum or 0)
        if signum:
            raise Interrupted(signum, f"after epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        if trainer.validating:  # goes on with the validation from its start
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": begun, "current": begun, "is_last_batch": False}

    def state_dict(self) -> dict:
        seconds = self.earlier_seconds + time.monotonic() - self._began
        return {"best": self.best, "since_best": self.since_best, "seconds": seconds}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.since_best = state["best"], state.get("since_best", 0)
        self.earlier_seconds = state.get("seconds", 0.0)

    def _stop_if_patience_ends(self, trainer: Trainer) -> None:
        if self.patience is not None and self.since_best >= self.patience:
            trainer.should_stop = True

    def _save_if_asked(self, trainer: Trainer, where: str) -> None:
        if trainer.state.fn != TrainerFn.FITTING or _gathers(trainer):
            return
        signum, due = self._agreed(INTERRUPTION.signum or 0, time.monotonic() - self._saved > 60 * self.minutes)
        if signum or due:
            self._save(trainer)
        if signum:
            raise Interrupted(signum, where)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.run.last)
        self._saved = time.monotonic()

    def _agreed(self, *values: int) -> list[int]:
        """Take the largest of all processes' values."""
        if self._group is None:
            return list(values)
        largest = torch.tensor(values)
        dist.all_reduce(largest, dist.ReduceOp.MAX, self._group)
        return largest.tolist()


class NetworkDescription(Callback):
    """Put into each checkpoint how to build its network again and how its inputs were normalised."""

    def __init__(self, description: dict) -> None:
        self.description = description

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict) -> None:
        data = trainer.datamodule
        view = getattr(data, "view_settings", None)  # a data module of the user's own need not have it
        checkpoint[ABOUT] = {
            **self.description,
            "format": FORMAT,
            "class_names": [str(name) for name in data.class_names],
            "mean": [float(value) for value in data.mean],
            "std": [float(value) for value in data.std],
            **({"view": view} if view else {}),
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
