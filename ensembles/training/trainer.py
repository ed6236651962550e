"""The Lightning Trainer of a config."""

import os
import warnings
from contextlib import AbstractContextManager, nullcontext

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ensembles import build
from ensembles.errors import UserError, reason
from ensembles.methods import Method
from ensembles.processes import started_by_srun
from ensembles.runs import Run
from ensembles.training.callbacks import Compiled, History, Losses, SeededSteps
from ensembles.training.checkpointing import Checkpoints, DurableIO, KeepEpochs, NetworkDescription
from ensembles.training.loggers import make_loggers

LONG = 5_000  # steps; in a shorter training compiling can take longer than it saves
HALVED = 256  # outputs of the widest convolution; ResNet-18's step takes 0.51 to 0.55 of its time in half precision
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


def make_trainer(config: DictConfig, run: Run, description: dict, method: Method) -> pl.Trainer:
    """Make a Trainer that keeps its run's folder, into which only process 0 writes.

    Args:
        description: of the network, for checkpoints, as `ensembles.build.description` gives it.

    Raises:
        UserError: settings of ``trainer``, ``runtime`` or ``strategy`` that cannot work here.
    """
    _require_precision(config, method)
    monitor = method.likelihood.monitor if config.data.val_fraction > 0 else None
    callbacks = [
        SeededSteps(config.seed),
        NetworkDescription(description),
        Losses(),
        History(run.history),
        Checkpoints(run, config.runtime.save_minutes, monitor, config.runtime.get("patience")),
    ]
    if compiled := _compiled(config):
        callbacks.append(compiled)
    if config.runtime.keep_every:
        callbacks.append(KeepEpochs(run.epochs, config.runtime.keep_every))
    if config.runtime.progress:
        callbacks.append(Progress())
    settings = {
        "benchmark": not config.trainer.deterministic,
        **config.trainer,
        "max_epochs": config.recipe.epochs,
        "strategy": _strategy(config),
        "plugins": [
            SLURMEnvironment(auto_requeue=False) if started_by_srun() else LightningEnvironment(),
            DurableIO(kept={run.last: run.previous}),
        ],
        "callbacks": callbacks,
        "logger": make_loggers(config, run),
        "enable_progress_bar": config.runtime.progress,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 1_000_000,
        "default_root_dir": str(run.folder),
    }
    try:
        return pl.Trainer(**settings)
    except (MisconfigurationException, TypeError, ValueError) as error:  # more devices than there are, say
        raise UserError(f"trainer: {reason(error).rstrip('!')}.") from error


def attention_kernels(config: DictConfig) -> AbstractContextManager:
    """Choose how torch computes attention in training: in bf16 on a CPU by plain products, else as it likes.

    Its fused kernel took, forward and backward, 2.7 times as long there for 17 tokens, 2.1 times for 65, and 0.9 times
    for 197; and a training step of Packed-Ensembles on a transformer of four blocks and 17 tokens twice as long.
    """
    plain = config.trainer.precision == "bf16-mixed" and not _on_gpu(config)
    return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


def _on_gpu(config: DictConfig) -> bool:
    return config.trainer.accelerator != "cpu" and torch.cuda.is_available()


def _is_fsdp(config: DictConfig) -> bool:
    return str((config.strategy or {}).get("_target_")).endswith("FSDPStrategy")


def _require_precision(config: DictConfig, method: Method) -> None:
    """Warn of a precision that makes a CPU slow, or recommend the one that makes it twice as fast.

    Raises:
        UserError: a precision that needs a GPU, and none is in use.
    """
    precision = config.trainer.precision
    if _on_gpu(config):
        return
    if precision == "16-mixed":
        raise UserError("trainer.precision=16-mixed needs a GPU, and there is none in use: take bf16-mixed or 32.")
    if precision == "bf16-mixed" and not _cpu_has_bf16():
        warnings.warn(
            "This processor has no instructions for bf16, so that trainer.precision=bf16-mixed takes many times as "
            "long here as trainer.precision=32.",
            stacklevel=1,
        )
    if precision == 32 and config.train and _gains_by_bf16(method):
        warnings.warn(
            "This processor computes in bf16: trainer.precision=bf16-mixed would take about half the time.",
            stacklevel=1,
        )


def _cpu_has_bf16() -> bool:
    """Tell whether torch's convolutions on this processor compute in bf16, rather than by a slow stand-in."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _gains_by_bf16(method: Method) -> bool:
    """Tell whether the processor has instructions for bf16, and the network layers wide enough for them."""
    widths = [layer.out_channels for layer in method.modules() if isinstance(layer, nn.Conv2d)]
    wide = method.ensemble.input_shape[-1] >= 32 and max(widths, default=0) >= HALVED
    return wide and torch.cpu._is_avx512_bf16_supported()


def configure_members(method: Method, config: DictConfig) -> None:
    """Have members run in the form (`ensembles.methods.forms`) and layout that ``runtime`` names.

    On one CPU core a pass and its gradients in channels-last take these shares of the default layout's time: ResNet-18
    on 32x32 images 0.83, at half its width 0.81, SmallCNN 0.76, on 8x8 images 0.58, a packed ResNet-18 0.91.

    Raises:
        UserError: ``grouped`` is asked for, and the method runs all its members at once anyway, or FSDP puts their
            weights together only for passes of their own.
    """
    form = config.runtime.get("form", "auto")
    if form == "grouped" and _is_fsdp(config):
        raise UserError("runtime.form=grouped does not work with strategy=fsdp: set it to loop, or take strategy=ddp.")
    if form == "grouped" and not method.ensemble.has_forms:
        raise UserError(
            f"runtime.form=grouped is for methods with M networks, not for {type(method).__name__}: set it to auto."
        )
    method.ensemble.form = "loop" if _is_fsdp(config) else form
    if not config.runtime.channels_last:
        method.memory_format = torch.contiguous_format
        method.ensemble.to(memory_format=torch.contiguous_format)


def _compiled(config: DictConfig) -> Compiled | None:
    """Make what compiles the network where that is asked for, or by itself on a GPU in a long training."""
    chosen = config.runtime.compile
    if chosen is True and _is_fsdp(config):
        raise UserError("runtime.compile=true does not work with strategy=fsdp: set it to false, or take strategy=ddp.")
    if chosen == "auto" and _on_gpu(config) and not _is_fsdp(config):
        return Compiled(least=LONG)
    return Compiled() if chosen is True else None


def _strategy(config: DictConfig):
    """Make the strategy, or name Lightning's choice for one device."""
    if not _on_gpu(config) and _is_fsdp(config):
        raise UserError("strategy=fsdp needs GPUs, and there are none in use: take strategy=ddp.")
    alone = config.trainer.devices * config.trainer.num_nodes == 1 and "LOCAL_RANK" not in os.environ
    if "_target_" not in (config.strategy or {}) or (alone and not _is_fsdp(config)):
        return "auto"
    return build.call(config.strategy)
