"""What every method must do, on several networks. A new method joins by its file in configs/method."""

import copy
import os
from functools import cache
from itertools import product

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose

from ensembles import build, cost, metrics
from ensembles.cli import CONFIGS
from ensembles.cli.composing import composing
from ensembles.cli.config import checked
from ensembles.data import Digits
from ensembles.describe import describe
from ensembles.keyed import generator
from ensembles.training.collector import Collector
from ensembles.training.launch import launch
from ensembles.training.recipe import Recipe

METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
MODELS = {
    "small_cnn": ["model=small_cnn"],
    "wrn": ["model=wrn", "model.depth=16"],
    "resnet18": ["model=resnet18", "model.width=0.125"],
}
# Networks that see no difference between one batch on one process and its parts on several.
DIVISIBLE = {"small_cnn": MODELS["small_cnn"], "ghost": [*MODELS["wrn"], "model.ghost_batch=4"]}
MEASURED = "ghost"  # of these: gathering predictions is the same for all networks
# What a method needs to have members that differ, and on a network where no two layers have one shape.
SETTINGS = {"dropout": ["method.samples=3"]}
ON = {("mixture", "small_cnn"): ["method.grouping=flat"]}
# With these a method is one network, built as the backbone is.
ONE = {
    "deterministic": [],
    "dropout": ["method.rate=0"],
    "masksembles": ["method.M=1", "method.scale=1"],
    "packed": ["method.M=1", "method.alpha=1"],
}
REPARAMETERISED = {"batch_ensemble", "mixture"}  # even one member's weights are products or sums of what is stored

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
every_pair = pytest.mark.parametrize("model", MODELS)
every_method = pytest.mark.parametrize("method", METHODS)


@cache
def config(method, model, *overrides):
    given = [
        f"method={method}",
        *(MODELS | DIVISIBLE)[model],
        *SETTINGS.get(method, ()),
        *ON.get((method, model), ()),
        *overrides,
    ]
    with composing():
        return checked(compose("train", given))


def about(method, model, *overrides):
    chosen = config(method, model, *overrides)
    return {"method": chosen["method"], "model": chosen["model"], "num_classes": 10, "in_channels": 1, "image_size": 8}


@cache
def original(method, model, seed):
    torch.manual_seed(seed)
    return build.method(about(method, model))


def built(method, model, seed=0):
    return copy.deepcopy(original(method, model, seed))


def images(size, seed=1):
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


@every_pair
@every_method
def test_members_logits(method, model):
    """Of shape (M, B, K), different from member to member, those of member(m), and those of each on the same input."""
    ensemble = built(method, model).ensemble.eval()
    x = images(3)
    logits = ensemble(x)
    assert logits.shape == (ensemble.M, 3, 10)
    for m in range(ensemble.M):
        torch.testing.assert_close(ensemble.member(m).eval()(x), logits[m], rtol=1e-4, atol=1e-5)
        assert all(not torch.allclose(logits[m], logits[other]) for other in range(m))
    torch.testing.assert_close(ensemble.each(x.expand(ensemble.M, *x.shape)), logits, rtol=1e-4, atol=1e-5)


@every_pair
@every_method
def test_checkpoint_round_trip(method, model, tmp_path):
    first, second = built(method, model), built(method, model, seed=1)
    first(images(4))  # in training mode: batch norms have seen something
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(first.eval()(images(3)), second.eval()(images(3)))


@every_pair
@every_method
def test_described_is_what_is_built(method, model):
    found = describe(config(method, model))
    ensemble = built(method, model).ensemble
    assert found.costs["cost/params"] == cost.parameters(ensemble)
    assert sum(stage.shared + found.M * stage.own for stage in found.stages) == cost.parameters(ensemble)
    assert found.costs["cost/mult_adds"] == cost.multiply_adds(ensemble, (1, 8, 8))
    assert found.costs["cost/member_params"] == cost.parameters(ensemble.member(0))


@every_pair
@every_method
def test_training_lowers_the_loss(method, model):
    module = built(method, model).train()
    recipe = Recipe(lambda groups: torch.optim.Adam(groups, lr=0.01), 1, 8, lambda done, of: 1.0)
    optimizer = recipe.optimizers(module.parameter_groups(), 10)["optimizer"]
    x, y = images(8), torch.arange(8)
    losses = []
    for step in range(10):
        dealt = module.deal.positions(8, generator(0, step))
        loss = module.loss(module(x[dealt]), y[dealt])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    assert all(parameter.grad is not None for parameter in module.parameters())


@every_pair
@every_method
def test_one_member_is_the_backbone(method, model):
    given = about(method, model, *ONE.get(method, ["method.M=1"]))
    if method == "dropout":
        given["method"] = given["method"] | {"samples": 1}
    torch.manual_seed(3)
    ensemble = build.method(given).ensemble.eval()
    torch.manual_seed(3)
    backbone = build.backbone(given)().eval()
    if method in REPARAMETERISED:
        backbone.load_state_dict(ensemble.member(0).state_dict())
    assert ensemble.M == 1
    torch.testing.assert_close(ensemble(images(3))[0], backbone(images(3)))


def lightning(processes, **settings):
    """A Trainer of this process, or of all those that were launched with it."""
    return pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def predictions(method, model, processes=1):
    """Before any training, what each test set's collected logits and labels are."""
    found = {}
    data = Digits(batch_size=8, val_fraction=0, classes=range(9))  # 324 test images and 36 left out
    lightning(processes, callbacks=[Collector(lambda name, *both: found.update({name: both}))]).test(
        built(method, model), data, verbose=False
    )
    return found


def two_steps(method, model, processes=1):
    """The weights after two steps on digits."""
    module = built(method, model)
    module.recipe = Recipe(lambda groups: torch.optim.SGD(groups, lr=0.05), 1, 24, lambda done, of: 1.0)
    data = Digits(batch_size=24, val_fraction=0)
    data.deal = module.deal
    lightning(processes, max_steps=2).fit(module, data)
    return module.state_dict()


def cases(processes):
    return product(METHODS, DIVISIBLE if processes == 2 else [MEASURED])


def all_of_them(folder, processes):
    torch.set_num_threads(1)
    for method, model in cases(processes):
        found = trained_and_measured(method, model, processes)
        if os.environ.get("LOCAL_RANK") == "0":
            torch.save(found, folder / f"{method}-{model}.pt")


def trained_and_measured(method, model, processes=1):
    return two_steps(method, model, processes), predictions(method, model, processes) if model == MEASURED else {}


alone = cache(trained_and_measured)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_train_and_measure_as_one(tmp_path, processes):
    """Every method in one group of processes, without batch norm and with ghost batches; sets need not divide."""
    launch(all_of_them, (tmp_path, processes), processes)
    for method, model in cases(processes):
        name = f"{method}-{model}"
        weights, predicted = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        expected_weights, expected = alone(method, model)
        torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-6, msg=name)
        start = built(method, model).state_dict()
        assert any(not torch.equal(weights[key], start[key]) for key in start), name
        assert predicted.keys() == expected.keys() and len(predicted) == (4 if model == MEASURED else 0)
        for key, (logits, labels) in predicted.items():
            assert torch.equal(labels, expected[key][1]), name
            torch.testing.assert_close(logits, expected[key][0], rtol=1e-4, atol=1e-5, msg=f"{name} {key}")
        if model == MEASURED:
            found, one = (
                metrics.scores(*both["test"], ("acc", "nll", "ece", "brier")) for both in (predicted, expected)
            )
            assert found == pytest.approx(one, rel=1e-4) and found["acc"] == one["acc"], name
