"""Configurations drawn at random: each trains two steps, or fails with one sentence before it trains."""

from functools import cache

import pytest
from hydra import compose
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytorch_lightning import Trainer

from ensembles import cost, evaluation, experiment
from ensembles.cli.composing import checked, composing
from ensembles.errors import UserError
from ensembles.methods import Method
from ensembles.recipes import CONFIGS
from ensembles.runs import Run

METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
STARTS = {"init": ["torch", "he", "zeros"], "redraw": ["bootstrap", "never"]}
MODELS = {
    "small_cnn": {"width": [0.5, 2, 0, "wide"], **STARTS},
    "mlp": {"width": [0.5, 0.01, -1]},
    "wrn": {
        "depth": [10, 16, 11, 4, 0],
        "widen_factor": [2, 0, 1.5],
        "width": [0.5, 0.01],
        "ghost_batch": [2, 4, 100, 0],
        "conv_bias": ["true", "maybe"],
        "late_stride": ["true"],
        "preactivation": ["false", "sometimes"],
        **STARTS,
    },
    "resnet18": {"width": [0.25, 0.05], "ghost_batch": [4, 3]},
    "timm": {"name": ["resnet10t", "test_vit", "nothing"], "pretrained": [1], "width": [0.5], "init": ["he"]},
    "torchvision": {"name": ["squeezenet1_1", "mobilenet_v3_small", "resnet"], "width": [0.5, 0]},
}
NEEDED = {
    "resnet18": {"model.width": 0.125},
    "wrn": {"model.depth": 10},
    "timm": {"model.name": "resnet10t", "data.image_size": 32},
    "torchvision": {"model.name": "squeezenet1_1", "data.image_size": 32},
}
OF_METHODS = {
    "M": [1, 2, 3, 0, -1, 1.5, "two", "null"],
    "alpha": [0.5, 1, 3, 0, "big"],
    "gamma": [2, 3, 0],
    "min_channels": [1, 8, 0],
    "initialisation": ["common", "none"],
    "batches": ["own", "none"],
    "reduction": ["sum", "mean", "max"],
    "rho": [0.5, 1, 2, -0.1],
    "batch_repetition": [1, 2, 0],
    "split": ["conv2", "fc", "layer3", "nowhere", 3],
    "init": ["signs", "zeros"],
    "fast_lr": [0, 1, -1],
    "decay_fast": ["true", "somewhat"],
    "site": ["residual", "everywhere"],
    "penalty": ["layers", "none"],
    "norm_l2": [3e-4, -1],
    "deal": ["shares", "all"],
    "member_batch_norm": ["true", "maybe"],
    "rate": [0, 0.5, 1],
    "samples": [2, 0],
    "scale": [1, 3.5, 6, 0.5, 7],
    "budget": [0.5, 2, 2000, 0, -1],
    "max_params": [2000, 100_000, 0, "null"],
    "templates": [1, 2, 50, 0],
    "grouping": ["flat", "none"],
    "single_layer_banks": ["true", 2],
    "disjoint": ["true", "often"],
    "checkpoints": ["[nowhere.ckpt]"],
}
OTHERS = {
    "seed": [3, -1, "x"],
    "recipe.batch_size": [4, 7, 1000, 0, 2.5],
    "recipe.epochs": [3, 0],
    "recipe.warmup_epochs": [0, 0.5, -1, 100],
    "recipe.l1": [1e-4, -1],
    "recipe.l2": [1e-4, "some"],
    "recipe.label_smoothing": [0.1, 1],
    "recipe.loss": ["binary_cross_entropy", "hinge"],
    "recipe.decay_norms": ["false", "no way"],
    "recipe.optimizer.lr": [0.01, 0, "fast"],
    "recipe.optimizer.momentum": [0, 1, "null"],
    "recipe.optimizer.weight_decay": [0, -1],
    "recipe.optimizer.nesterov": ["false", "perhaps"],
    "recipe.optimizer._target_": ["torch.optim.Adam", "torch.optim.Nothing"],
    "recipe.schedule._target_": ["ensembles.training.recipe.multistep", "nowhere.schedule"],
    "+recipe.schedule.floor": [0.1, "low"],
    "data.val_fraction": [0, 0.5, 1, 0.001],
    "data.train_size": [20, 5, 100000, 0, "all"],
    "data.classes": ["[0,1]", "[3]", "[0,0]", "[0,11]", "[]", 5],
    "data.image_size": [16, 32, 5, 1, 0],
    "data.eval_batch_size": [7, 0],
    "data.num_workers": [0, -1],
    "data.augment": ["null"],
    "data.augment.pad": [0, 3, -1, 100],
    "data.augment.flip": ["true", "up"],
    "data.mix": [
        "{_target_: ensembles.data.mixing.Mix, mixup: 0.2}",
        "{_target_: ensembles.data.mixing.Mix, cutmix: 1}",
        "{_target_: ensembles.data.mixing.Mix, mixup: -1}",
    ],
    "trainer.precision": ["bf16-mixed", "16-mixed", 8],
    "trainer.gradient_clip_val": [1, 0, -1],
    "trainer.devices": [2, 0, "all"],
    "trainer.num_nodes": [2, 0],
    "trainer.accelerator": ["auto", "gpu", "abacus"],
    "runtime.channels_last": ["false", "maybe"],
    "runtime.compile": ["false", "very"],
    "trainer.deterministic": ["true", 3],
    "runtime.keep_every": [1, 0],
    "runtime.save_minutes": [0, -1],
    "strategy": ["ddp", "fsdp"],
    "test_on": ["last", "first"],
    "ckpt_path": ["nowhere.ckpt"],
    "train": ["false", "perhaps"],
    "evaluation.temperature_scaling": ["true", 2],
}
SMALL = [
    "recipe.epochs=2",
    "recipe.batch_size=8",
    "data.train_size=40",
    "data.corrupted.source=null",
    "trainer.accelerator=cpu",
    "runtime.progress=false",
    "+trainer.limit_train_batches=1",
]


@cache
def keys_of(method):
    lines = (CONFIGS / "method" / f"{method}.yaml").read_text().splitlines()
    return [line.partition(":")[0] for line in lines if line[0] not in "#_"]


@st.composite
def configurations(draw):
    """A method and a model, and up to four of the settings that there are for them."""
    method, model = draw(st.sampled_from(METHODS)), draw(st.sampled_from([*MODELS, "small_cnn", "wrn"]))
    values = {f"method.{key}": OF_METHODS[key] for key in keys_of(method)}
    values |= {f"model.{key}": choices for key, choices in MODELS[model].items()} | OTHERS
    own = [key for key in values if key.startswith(("method.", "model."))]
    chosen = draw(st.lists(st.sampled_from(own), max_size=2, unique=True) if own else st.just([]))
    chosen += draw(st.lists(st.sampled_from(list(OTHERS)), max_size=2, unique=True))
    settings = {key: draw(st.sampled_from(values[key])) for key in chosen}
    given = NEEDED.get(model, {}) | settings
    return [f"method={method}", f"model={model}", *SMALL, *(f"{key}={value}" for key, value in given.items())]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What becomes of a configuration: the steps that it trained, and the sentence with which it failed, if it did."""
    folder = tmp_path_factory.mktemp("random")
    steps = []
    with pytest.MonkeyPatch.context() as patch, composing():
        patch.chdir(folder)
        before = Method.training_step
        patch.setattr(Method, "training_step", lambda self, batch: steps.append(1) or before(self, batch))
        patch.setattr(Trainer, "validate", lambda *_, **__: None)
        patch.setattr(Trainer, "test", lambda *_, **__: None)
        patch.setattr(evaluation, "write_results", lambda *_: {})
        patch.setattr(cost, "measure", lambda *_: {})

        def outcome(overrides):
            steps.clear()
            run = None
            try:
                config = compose("train", [*overrides, f"runs_dir={folder}/runs"])
                run = Run.of(checked(config), {"data": "digits", "model": "model", "method": "method"})
                run.set_aside()
                with run.opened():
                    experiment.fit_and_test(run)
            except UserError as error:
                return len(steps), str(error)
            return len(steps), None

        yield outcome


def holds(outcome, overrides):
    steps, said = outcome(overrides)
    if said is None:
        untrained = any(text in overrides for text in ("train=false", "method.checkpoints=[nowhere.ckpt]"))
        assert steps == (0 if untrained else 3 if "recipe.epochs=3" in overrides else 2)
    else:
        assert steps == 0
        assert "\n" not in said and said.endswith((".", "?")) and len(said) < 400


common = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
}


@pytest.mark.slow
@settings(max_examples=40, derandomize=True, **common)
@given(overrides=configurations())
def test_each_trains_or_says_why_not(outcomes, overrides):
    holds(outcomes, overrides)


@pytest.mark.campaign
@settings(max_examples=200, **common)
@given(overrides=configurations())
def test_each_of_many_trains_or_says_why_not(outcomes, overrides):
    holds(outcomes, overrides)
