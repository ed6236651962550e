"""Learning-rate schedules, parameter groups and penalties."""

import copy
import math

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader

from ensembles.errors import UserError
from ensembles.methods import Deterministic
from ensembles.training.recipe import Recipe, cosine, multistep, triangular


def recipe(**changes):
    settings = {"epochs": 10, "batch_size": 4, "schedule": multistep([5, 8], 0.1, of=10), "warmup_epochs": 0}
    return Recipe(optimizer=lambda groups: torch.optim.SGD(groups, lr=2.0), **settings | changes)


def rates(recipe, steps):
    parts = recipe.optimizers([{"params": [torch.zeros(1, requires_grad=True)]}], steps)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_multistep_decays_at_the_epochs_named():
    assert rates(recipe(), 20) == pytest.approx([2.0] * 10 + [0.2] * 6 + [0.02] * 4)


def test_milestones_stretch_with_the_epochs():
    assert rates(recipe(epochs=20), 20) == pytest.approx([2.0] * 10 + [0.2] * 6 + [0.02] * 4)


def test_warmup_is_linear_from_zero():
    assert rates(recipe(warmup_epochs=2), 20)[:6] == pytest.approx([0, 0.5, 1, 1.5, 2, 2])


def test_cosine_ends_near_zero():
    seen = rates(recipe(schedule=cosine()), 10)
    assert seen == pytest.approx([1 + math.cos(math.pi * step / 10) for step in range(10)])


def test_a_triangular_rate_peaks_where_it_is_told():
    factor = triangular(0.2)
    assert [factor(done, 10) for done in (0, 1, 2, 6, 10)] == [0, 0.5, 1, 0.5, 0]
    with pytest.raises(UserError, match=r"recipe\.schedule\.peak is 1, but must be a number between 0 and 1"):
        triangular(1)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def trained(network, settings, groups=None, loss=lambda network: 0.0, steps=3):
    """The network after some steps on a fixed batch, with its recipe's optimiser and penalties."""
    recipe = Recipe(**{"epochs": 1, "batch_size": 8, "schedule": lambda done, of: 1.0} | settings)
    optimizer = recipe.optimizers(groups(network) if groups else [{"params": list(network.parameters())}], steps)
    optimizer = optimizer["optimizer"]
    x, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(2)), torch.arange(8) % 3
    for _ in range(steps):
        optimizer.zero_grad()
        (F.cross_entropy(network(x), y) + loss(network)).backward()
        recipe.penalise(optimizer)
        optimizer.step()
    return dict(network.named_parameters())


def sgd(groups, **settings):
    return SGD(groups, lr=0.1, momentum=0.9, nesterov=True, **settings)


def test_l2_is_twice_itself_as_weight_decay():
    penalised = trained(network(), {"optimizer": sgd, "l2": 0.05})
    decayed = trained(network(), {"optimizer": lambda groups: sgd(groups, weight_decay=0.1)})
    torch.testing.assert_close(penalised, decayed, rtol=0, atol=0)


def test_penalties_are_those_of_the_loss_norms_and_biases_included():
    def penalty(network):
        parameters = list(network.parameters())
        return sum(0.02 * p.abs().sum() + 0.03 * p.square().sum() for p in parameters)

    def adamw(groups):
        return AdamW(groups, lr=0.01)

    in_gradient = trained(network(), {"optimizer": adamw, "l1": 0.02, "l2": 0.03})
    in_loss = trained(network(), {"optimizer": adamw}, loss=penalty)
    torch.testing.assert_close(in_gradient, in_loss)


def shrunk(settings, groups=None):
    """Which parameters weight decay or a penalty pulls to zero, when the loss does not care."""
    recipe = Recipe(epochs=1, batch_size=8, schedule=lambda done, of: 1.0, **settings)
    net = network()
    for parameter in net.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    groups = groups(net) if groups else [{"params": list(net.parameters())}]
    optimizer = recipe.optimizers(groups, 1)["optimizer"]
    recipe.penalise(optimizer)
    optimizer.step()
    return {name for name, parameter in net.named_parameters() if (parameter < 1).all()}


WEIGHTS, ALL = {"0.weight", "3.weight"}, {f"{layer}.{key}" for layer in (0, 1, 3) for key in ("weight", "bias")}
DECAYS = {"optimizer": lambda groups: SGD(groups, lr=0.1, weight_decay=0.1)}


@pytest.mark.parametrize("pull", [DECAYS, {"optimizer": sgd, "l1": 0.1}, {"optimizer": sgd, "l2": 0.1}])
def test_norms_and_biases_can_be_left_out(pull):
    assert shrunk(pull) == ALL
    assert shrunk(pull | {"decay_norms": False}) == WEIGHTS


def test_norms_and_biases_can_learn_faster_and_shrink_at_the_same_pace():
    """A step from gradients of 1 and a decay of 0.1: by lr (1 + 0.1) where nothing is changed."""
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.fill_(1.0), net.bias.fill_(1.0)
    faster = Recipe(**DECAYS, epochs=1, batch_size=4, schedule=lambda done, epochs: 1, norms_lr=64)
    optimizer = faster.optimizers([{"params": net.parameters(), "lr_factor": 0.5}], 1)["optimizer"]
    net.weight.grad, net.bias.grad = torch.ones(2, 2), torch.ones(2)
    optimizer.step()
    torch.testing.assert_close(net.weight, torch.full((2, 2), 1 - 0.05 * (1 + 0.1)))
    torch.testing.assert_close(net.bias, torch.full((2,), 1 - 0.05 * (64 + 0.1)))


@pytest.mark.parametrize("pull", [DECAYS, {"optimizer": sgd, "l1": 0.1}, {"optimizer": sgd, "l2": 0.1}])
def test_a_group_without_weight_decay_has_no_penalty_either(pull):
    def groups(net):
        return [
            {"params": [*net[0].parameters(), *net[1].parameters()]},
            {"params": net[3].parameters(), "weight_decay": 0.0},
        ]

    assert shrunk(pull, groups) == {name for name in ALL if not name.startswith("3")}
    assert shrunk(pull | {"decay_norms": False}, groups) == {"0.weight"}


def test_a_group_says_what_its_parameters_are():
    def groups(net):
        return [{"params": net[0].parameters(), "norms": True}, {"params": net[1].parameters(), "norms": False}]

    assert shrunk(DECAYS | {"decay_norms": False}, groups) == {"1.weight", "1.bias"}


def test_a_group_has_its_own_weight_decay_and_learning_rate():
    net = network()
    groups = [{"params": net[0].parameters()}, {"params": net[3].parameters(), "weight_decay": 0.3, "lr_factor": 0.5}]
    settings = {"schedule": multistep([1], 0.1, of=2), "epochs": 2, "batch_size": 8}
    parts = Recipe(optimizer=lambda groups: SGD(groups, lr=2.0, weight_decay=0.1), **settings).optimizers(groups, 2)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(2):
        seen.append([(group["lr"], group["weight_decay"]) for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert seen == [[(2.0, 0.1), (1.0, 0.3)], [(pytest.approx(0.2), 0.1), (pytest.approx(0.1), 0.3)]]


@pytest.mark.filterwarnings("ignore")
def test_training_uses_the_penalties():
    method = Deterministic(network, (4,))
    start = copy.deepcopy(method.ensemble.networks[0])
    settings = {"optimizer": sgd, "l1": 0.02, "l2": 0.03}
    method.recipe = Recipe(epochs=3, batch_size=8, schedule=lambda done, of: 1.0, **settings)
    x, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(2)), torch.arange(8) % 3
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    pl.Trainer(max_epochs=3, accelerator="cpu", **quiet).fit(method, DataLoader([(x, y)], batch_size=None))
    expected = trained(start, settings)
    torch.testing.assert_close(dict(method.ensemble.networks[0].named_parameters()), expected)


@pytest.mark.parametrize("settings", [{"l1": -1}, {"l2": "much"}, {"decay_norms": 0.5}, {"norms_lr": 0}])
def test_refuses(settings):
    with pytest.raises(UserError, match=f"recipe.{next(iter(settings))}"):
        recipe(**settings)


def test_smoothing_and_binary_loss_by_hand():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    shares = torch.full((6, 4), 0.025)
    shares[torch.arange(6), labels] += 0.9
    smooth = recipe(label_smoothing=0.1).criterion(logits, labels)
    torch.testing.assert_close(smooth, -(shares * logits.log_softmax(1)).sum(1).mean())
    torch.testing.assert_close(recipe().criterion(logits, shares), smooth)
    p = logits.sigmoid()
    by_hand = -(shares * p.log() + (1 - shares) * (1 - p).log()).mean()
    binary = recipe(loss="binary_cross_entropy", label_smoothing=0.1)
    torch.testing.assert_close(binary.criterion(logits, labels), by_hand)
    with pytest.raises(UserError, match=r"recipe\.loss is 'hinge'"):
        recipe(loss="hinge")
