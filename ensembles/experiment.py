"""Fit, test, report: what each process of a run does."""

import json
import os
import time

import torch
from omegaconf import DictConfig, OmegaConf

from ensembles import build, cost, metrics
from ensembles.data import ImageDataModule
from ensembles.files import write_text
from ensembles.keyed import seed_of
from ensembles.methods import Method
from ensembles.provenance import provenance
from ensembles.reports import plots
from ensembles.runs import Run
from ensembles.training.checkpoints import load_weights
from ensembles.training.quiet import quiet
from ensembles.training.trainer import make_trainer


def work(config: dict, run: Run) -> None:
    """Train what is untrained of the run, test it, and leave its results in the run's folder.

    Raises:
        UserError: input that cannot work.
    """
    started = time.time()
    quiet(speaks=os.environ.get("LOCAL_RANK", "0") == "0")
    config = OmegaConf.create(config)
    torch.manual_seed(seed_of(config.seed, "initialisation"))
    data: ImageDataModule = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    method = build.method(about)
    method.recipe = build.call(config.recipe)
    data.deal = method.deal
    trainer = make_trainer(config, run, about, validates=config.data.val_fraction > 0)
    if trains(config):
        resume = run.last if run.last.exists() else None
        trainer.fit(method, data, ckpt_path=resume, weights_only=True)
        tested = run.best if config.checkpoint == "best" and run.best.exists() else run.last
        load_weights(method, tested)
    elif config.ckpt:
        load_weights(method, config.ckpt)
    trained = time.time()
    trainer.test(method, data, verbose=False)
    if trainer.is_global_zero:
        write_results(run, method, data, about, {"train": trained - started, "test": time.time() - trained})


def trains(config: DictConfig) -> bool:
    return config.train and not config.method.get("checkpoints")


def write_results(run: Run, method: Method, data: ImageDataModule, about: dict, seconds: dict[str, float]) -> None:
    """Compute all metrics from the test's predictions; write results.json, provenance.json and the plots."""
    by_kind: dict[str, dict] = {"ood": {}, "shift": {}}
    for name, (logits, labels) in method.predictions.items():
        kind, _, short = name.partition("/")
        if short:
            by_kind[kind][short] = logits if kind == "ood" else (logits, labels)
    test = method.predictions["test"]
    results = metrics.summarise(test=test, **by_kind) | cost.measure(method.ensemble, build.backbone(about)())
    plots.draw(run.folder, test=test, ood=by_kind["ood"], history=run.history, class_names=data.class_names)
    write_text(run.results_file, json.dumps(results, indent=2) + "\n")
    write_text(run.provenance_file, json.dumps(provenance(run, seconds), indent=2) + "\n")
