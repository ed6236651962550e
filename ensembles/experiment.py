"""Fit, test, report: what each process of a run does."""

import time

import torch
from omegaconf import DictConfig, OmegaConf

from ensembles import build, cost, evaluation
from ensembles.data.datamodule import DataModule
from ensembles.data.files.fingerprint import image_hashes
from ensembles.keyed import seed_of
from ensembles.provenance import provenance
from ensembles.runs import Run
from ensembles.training.checkpoints import load_weights, newest
from ensembles.training.faults import explained
from ensembles.training.interruption import INTERRUPTION
from ensembles.training.launch import leads
from ensembles.training.loggers import publish
from ensembles.training.memory import keep_freed_memory
from ensembles.training.quiet import quiet
from ensembles.training.trainer import make_trainer


@explained()
def work(config: dict, run: Run) -> None:
    """Train what is untrained of the run, test it, and leave its results in the run's folder.

    Raises:
        UserError: input that cannot work, or a fault that the user can mend.
        Interrupted: a signal ended it; the training is saved.
    """
    started = time.time()
    images = image_hashes(run.test_images) if leads() else {}
    keep_freed_memory()
    quiet(speaks=leads())
    config = OmegaConf.create(config)
    torch.manual_seed(seed_of(config.seed, "initialisation"))
    data: DataModule = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    method = build.method(about)
    method.recipe = build.call(config.recipe)
    data.deal = method.deal
    trainer = make_trainer(config, run, about, method.likelihood.monitor if config.data.val_fraction > 0 else None)
    if trains(config):
        with INTERRUPTION.released():
            trainer.fit(method, data, ckpt_path=newest(run, method, trainer), weights_only=True)
        tested = run.best if config.checkpoint == "best" and run.best.exists() else run.last
        load_weights(method, tested, fix="test the other one with checkpoint=last, or train anew with force=true")
    elif config.ckpt:
        load_weights(method, config.ckpt)
    trained = time.time()
    summary = evaluation.evaluate(trainer, method, data, run)
    if trainer.is_global_zero:
        seconds = {"train": trained - started, "test": time.time() - trained}
        costs = cost.measure(method.ensemble, build.backbone(about)())
        origin = provenance(run, seconds, images)
        publish(trainer, evaluation.write(run, summary, costs, data.class_names, origin))


def trains(config: DictConfig) -> bool:
    return config.train and not config.method.get("checkpoints")
