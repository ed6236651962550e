"""The Lightning Trainer of a config."""

import os
import warnings

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ensembles import build
from ensembles.errors import UserError, reason
from ensembles.processes import started_by_srun
from ensembles.runs import Run
from ensembles.training.callbacks import (
    LONG,
    About,
    Compiled,
    Contiguous,
    Form,
    HalfPrecisionHint,
    History,
    KeepEpochs,
    KeyedSteps,
    Losses,
)
from ensembles.training.loggers import make_loggers
from ensembles.training.saving import Checkpoints, DurableIO

SHOWN = {"train/loss": "loss", "val/acc": "val acc", "val/mse": "val mse"}  # beside the bar, short enough for one line


class Progress(RichProgressBar):
    """Count epochs from 1, as everything else does, and show the last epoch's numbers, which wait for no device."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self.known: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        found = trainer.callback_metrics
        self.known = {name: found[key].item() for key, name in SHOWN.items() if key in found}
        super().on_train_epoch_end(trainer, module)

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, float]:
        return dict(self.known)

    def configure_columns(self, trainer: pl.Trainer) -> list:
        description, bar, batches, times, _speed = super().configure_columns(trainer)
        bar.bar_width = 10  # with the numbers beside it a line has less than 80 characters
        return [description, bar, batches, times]

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def make_trainer(config: DictConfig, run: Run, about: dict, monitor: tuple[str, str] | None) -> pl.Trainer:
    """A Trainer that keeps its run's folder; only process 0 writes into it."""
    _require_precision(config)
    saving = Checkpoints(run, config.runtime.save_minutes, monitor, config.runtime.get("patience"))
    callbacks = [KeyedSteps(config.seed), About(about), Losses(), History(run.history), saving, Form(_form(config))]
    if config.trainer.precision == 32 and not _on_gpu(config):
        callbacks.append(HalfPrecisionHint())
    if not config.runtime.channels_last:
        callbacks.append(Contiguous())
    if compiled := _compiled(config):
        callbacks.append(compiled)
    if config.runtime.keep_every:
        callbacks.append(KeepEpochs(run.epochs, config.runtime.keep_every))
    if config.runtime.progress:
        callbacks.append(Progress())
    return _lightning(
        **{"benchmark": not config.trainer.deterministic, **config.trainer},
        max_epochs=config.recipe.epochs,
        strategy=_strategy(config),
        plugins=[
            SLURMEnvironment(auto_requeue=False) if started_by_srun() else LightningEnvironment(),
            DurableIO(kept={run.last: run.previous}),
        ],
        callbacks=callbacks,
        logger=make_loggers(config, run),
        enable_progress_bar=config.runtime.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1_000_000,
        default_root_dir=str(run.folder),
    )


def _lightning(**settings) -> pl.Trainer:
    try:
        return pl.Trainer(**settings)
    except (MisconfigurationException, TypeError, ValueError) as error:  # more devices than there are, say
        raise UserError(f"trainer: {reason(error).rstrip('!')}.") from error


def _on_gpu(config: DictConfig) -> bool:
    return config.trainer.accelerator != "cpu" and torch.cuda.is_available()


def _is_fsdp(config: DictConfig) -> bool:
    return str((config.strategy or {}).get("_target_")).endswith("FSDPStrategy")


def _require_precision(config: DictConfig) -> None:
    if config.trainer.precision == "16-mixed" and not _on_gpu(config):
        raise UserError("trainer.precision=16-mixed needs a GPU, and there is none in use: take bf16-mixed or 32.")
    if config.trainer.precision == "bf16-mixed" and not _on_gpu(config) and not _cpu_has_bf16():
        warnings.warn(
            "This processor has no instructions for bf16, so that trainer.precision=bf16-mixed takes many times as "
            "long here as trainer.precision=32.",
            stacklevel=1,
        )


def _cpu_has_bf16() -> bool:
    """Whether torch's convolutions on this processor compute in bf16, rather than by a slow stand-in."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _form(config: DictConfig) -> str:
    """The form in which members run; FSDP puts their weights together only for passes of their own."""
    form = config.runtime.get("form", "auto")
    if _is_fsdp(config) and form == "grouped":
        raise UserError("runtime.form=grouped does not work with strategy=fsdp: set it to loop, or take strategy=ddp.")
    return "loop" if _is_fsdp(config) else form


def _compiled(config: DictConfig) -> Compiled | None:
    """What compiles the network where that is asked for, or by itself on a GPU in a long training."""
    chosen = config.runtime.compile
    if chosen is True and _is_fsdp(config):
        raise UserError("runtime.compile=true does not work with strategy=fsdp: set it to false, or take strategy=ddp.")
    if chosen == "auto" and _on_gpu(config) and not _is_fsdp(config):
        return Compiled(least=LONG)
    return Compiled() if chosen is True else None


def _strategy(config: DictConfig):
    """The strategy object, or Lightning's choice for one device."""
    if not _on_gpu(config) and _is_fsdp(config):
        raise UserError("strategy=fsdp needs GPUs, and there are none in use: take strategy=ddp.")
    alone = config.trainer.devices * config.trainer.num_nodes == 1 and "LOCAL_RANK" not in os.environ
    if "_target_" not in (config.strategy or {}) or (alone and not _is_fsdp(config)):
        return "auto"
    return build.call(config.strategy)
