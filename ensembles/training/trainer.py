"""The Lightning Trainer of a config."""

import os

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment

from ensembles.errors import UserError
from ensembles.runs import Run
from ensembles.training.callbacks import About, History, KeyedSteps, checkpoints


def make_trainer(config: DictConfig, run: Run, about: dict, validates: bool) -> pl.Trainer:
    """A Trainer that keeps its run's folder; only process 0 writes into it."""
    settings = {key: value for key, value in config.trainer.items() if key != "progress"}
    callbacks = [KeyedSteps(config.seed), About(about), History(run.history), *checkpoints(run, validates)]
    if config.trainer.progress:
        callbacks.append(RichProgressBar(leave=False))
    return pl.Trainer(
        **settings,
        max_epochs=config.recipe.epochs,
        strategy=_strategy(config),
        plugins=[SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else LightningEnvironment()],
        callbacks=callbacks,
        logger=[instantiate(logger, save_dir=str(run.folder)) for logger in config.logger.values() if logger],
        enable_progress_bar=config.trainer.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1_000_000,
        default_root_dir=str(run.folder),
    )


def _strategy(config: DictConfig):
    """The strategy object, or Lightning's choice for one device."""
    processes = config.trainer.devices * config.trainer.num_nodes
    if config.strategy is None or "_target_" not in config.strategy:
        if processes > 1:
            raise UserError(f"trainer.devices={config.trainer.devices} needs strategy=ddp or strategy=fsdp.")
        return "auto"
    on_cpu = config.trainer.accelerator == "cpu" or not torch.cuda.is_available()
    if on_cpu and config.strategy._target_.endswith("FSDPStrategy"):
        raise UserError("strategy=fsdp needs GPUs, and there are none in use: take strategy=ddp.")
    if processes == 1 and "LOCAL_RANK" not in os.environ:
        return "auto"
    return instantiate(config.strategy)
