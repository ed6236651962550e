"""Fit, test, report: a run from its config to its results. Torch is imported only where there is work for it."""

import time
from contextlib import nullcontext

from omegaconf import OmegaConf

from ensembles.data.files.fingerprint import image_hashes
from ensembles.errors import explained, show_own_warnings
from ensembles.processes import keep_freed_memory, launch, leads, require_other_nodes
from ensembles.reports.terminal import show
from ensembles.runs import Run
from ensembles.signals import INTERRUPTION


@INTERRUPTION.listening()
def run_experiment(run: Run, brief: bool = False) -> None:
    """Show the run's results, after fitting and testing unless they exist.

    Of processes that something else has started together, only the first holds the folder, and speaks.

    Args:
        brief: say nothing, as in a sweep, which has a line for each run.

    Raises:
        UserError: input that cannot work, or a fault that the user can mend.
        Interrupted: a signal has ended it, after what was done is saved.
    """
    run.require_same_images()
    if run.results_folder is None:
        require_other_nodes(run.config["trainer"]["num_nodes"])
        if run.recipe and leads() and not brief:
            print(f"recipe {run.recipe}", flush=True)
        with run.opened() if leads() else nullcontext():
            launch(fit_and_test, (run,), run.config["trainer"]["devices"])
    if leads() and not brief:
        show(run.results(), run.results_folder)


@explained()
def fit_and_test(run: Run) -> None:
    """Train what is untrained of the run, test it, and leave its results in its folder: in each process of the run.

    Raises:
        UserError: input that cannot work, or a fault that the user can mend.
        Interrupted: a signal ended it; the training is saved.
    """
    with INTERRUPTION.released():
        INTERRUPTION.hold()  # raised in the midst of torch's own start, one kills the process or is lost
        import torch

        from ensembles import build, cost, evaluation
        from ensembles.checkpoints import ABOUT, load_weights, put_weights, read_checkpoint
        from ensembles.constructors import without_pretrained
        from ensembles.provenance import provenance
        from ensembles.rng import seed_of
        from ensembles.training.resuming import checkpoint_to_resume
        from ensembles.training.trainer import attention_kernels, configure_members, make_trainer

    started = time.time()
    images = image_hashes(run.test_images) if leads() else {}
    keep_freed_memory()
    show_own_warnings(leads())
    config = OmegaConf.create(run.config)
    torch.manual_seed(seed_of(config.seed, "initialisation"))
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    checkpoint = read_checkpoint(config.ckpt_path) if config.ckpt_path else None
    if checkpoint:
        build.scale_as_trained(data, checkpoint[ABOUT])
    description = build.description(config, data)
    method = build.method(description)
    method.recipe = build.call(config.recipe)
    method.setup("fit")  # before the optimiser of what is saved is held against its own
    data.deal = method.deal
    configure_members(method, config)
    trainer = make_trainer(config, run, description, method)
    if config.train and not config.method.get("checkpoints"):
        with INTERRUPTION.released(), attention_kernels(config):
            trainer.fit(method, data, ckpt_path=checkpoint_to_resume(run, method, trainer), weights_only=True)
        tested = run.best if config.test_on == "best" and run.best.exists() else run.last
        load_weights(method, tested, fix="test the other one with test_on=last, or train anew with force=true")
    elif checkpoint:
        put_weights(method, checkpoint, config.ckpt_path)
    trained = time.time()
    with evaluation.collecting(trainer, data, run) as summary:
        if evaluation.validates(run):
            trainer.validate(method, data, verbose=False)
        trainer.test(method, data, verbose=False)
    if trainer.is_global_zero:
        before = trainer.checkpoint_callback.earlier_seconds
        seconds = {"train": before + trained - started, "test": time.time() - trained}
        costs = cost.measure(method, build.backbone(without_pretrained(description))())
        origin = provenance(run, seconds, images)
        results = evaluation.write_results(run, summary, costs, data.class_names, origin)
        for logger in trainer.loggers:
            logger.publish(results, trainer.global_step)
