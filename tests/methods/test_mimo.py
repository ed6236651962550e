"""MIMO: M inputs, M outputs, one network."""

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD

import ensembles
from ensembles import cost
from ensembles.backbones import mlp, resnet18, small_cnn, wrn
from ensembles.errors import UserError
from ensembles.methods import MIMO
from ensembles.training.recipe import Recipe

SHAPE = (3, 16, 16)


def test_parameters_of_the_paper():
    """Section 2, footnote 2: 36.479 M parameters, in the MIMO configuration with M = 3 36.492 M."""
    with torch.device("meta"):
        ensemble = ensembles.mimo(lambda: wrn(28, 10, 10), M=3)
        assert cost.parameters(ensemble) == 36_492_878
        assert cost.parameters(ensemble.member(1)) == cost.parameters(wrn(28, 10, 10)) == 36_479_194


@pytest.mark.parametrize("backbone", [small_cnn, mlp, resnet18])
def test_a_common_input_is_the_input_tiled(backbone):
    ensemble = ensembles.mimo(lambda: backbone(10), M=3).eval()
    x = torch.randn(4, 3, 32, 32)
    tiled = x.expand(3, *x.shape)
    torch.testing.assert_close(ensemble(x), ensemble.each(tiled), rtol=1e-4, atol=1e-5)


def test_equals_the_equation():
    """The first layer reads the concatenated inputs, member m's logits are outputs mK to (m + 1)K."""
    ensemble = ensembles.mimo(lambda: small_cnn(10), M=2)
    first, *middle = ensemble.network.children()
    x = torch.randn(2, 4, 3, 32, 32)
    features = sum(F.conv2d(x[m], first.weight[:, 3 * m : 3 * m + 3], padding=1) for m in range(2))
    features = features + first.bias.view(-1, 1, 1)
    for layer in middle:
        features = layer(features)
    torch.testing.assert_close(ensemble.each(x)[1], features[:, 10:], rtol=1e-4, atol=1e-5)


def test_every_output_depends_on_every_input():
    ensemble = ensembles.mimo(lambda: small_cnn(10), M=3)
    x = torch.randn(3, 1, 3, 32, 32, requires_grad=True)
    for m in range(3):
        (gradient,) = torch.autograd.grad(ensemble.each(x)[m].sum(), x)
        assert (gradient.flatten(1).abs().sum(1) > 0).all()


def recipe(**settings):
    return Recipe(lambda groups: SGD(groups, lr=1.0), epochs=1, batch_size=8, schedule=lambda done, of: 1.0, **settings)


def added(method, **settings):
    """What the penalties add to each parameter's gradient."""
    method.recipe = recipe(**settings)
    for parameter in method.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = method.recipe.optimizers(method.parameter_groups(), 1)["optimizer"]
    method.recipe.penalise(optimizer)
    listed = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(listed) == len({id(p) for p in listed}) == len(list(method.parameters()))
    return {name.removeprefix("ensemble.network."): p.grad for name, p in method.named_parameters()}


def by_hand(method, ends, norms, l1, l2, norm_l2):
    """The gradient of sum(l1 |w|_1 + l2 |w|^2), with autograd, from a list of what is penalised and how strongly."""
    network, M = method.ensemble.network, method.ensemble.M
    penalty = 0.0
    for name, parameter in network.named_parameters():
        times = M if name in ends else 1 if name.endswith("weight") and parameter.dim() > 1 else 0
        penalty = penalty + times * (l1 * parameter.abs().sum() + l2 * parameter.square().sum())
        if name.split(".")[-2] in norms:
            penalty = penalty + norm_l2 * parameter.square().sum()
    found = torch.autograd.grad(penalty, list(network.parameters()))
    return dict(zip(dict(network.named_parameters()), found, strict=True))


@pytest.mark.parametrize("M", [1, 3])
@pytest.mark.parametrize(("l1", "l2"), [(0.02, 0.0), (0.0, 0.03), (0.02, 0.03)])
@pytest.mark.parametrize("build", [lambda: wrn(10, 1, 10, image_size=16), lambda: small_cnn(10, image_size=16)])
def test_act_on_layers_and_m_times_on_the_first_and_last(build, l1, l2, M):
    method = MIMO(build, SHAPE, M=M, penalty="layers", norm_l2=0.05)
    for norm in (m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.bias)
    ends, norms = {"conv1.weight", "fc.weight", "fc.bias"}, {"bn", "bn1", "bn2"}
    torch.testing.assert_close(added(method, l1=l1, l2=l2), by_hand(method, ends, norms, l1, l2, 0.05))


def test_by_default_act_on_everything_alike():
    method = MIMO(lambda: wrn(10, 1, 10, image_size=16), SHAPE, M=3)
    found = added(method, l2=0.03)
    for name, parameter in method.ensemble.network.named_parameters():
        torch.testing.assert_close(found[name], 0.06 * parameter.detach())


def test_the_last_bias_is_penalised_where_norms_and_biases_are_not():
    method = MIMO(lambda: small_cnn(10, image_size=16), SHAPE, M=2, penalty="layers")
    found = added(method, l2=0.03, decay_norms=False)
    torch.testing.assert_close(found["fc.bias"], 0.12 * method.ensemble.network.fc.bias.detach())
    assert not found["conv2.bias"].any()


@pytest.mark.parametrize(("key", "value"), [("penalty", "some"), ("norm_l2", -1)])
def test_refuses_penalties(key, value):
    with pytest.raises(UserError, match=rf"^method\.{key} is .* must be"):
        MIMO(lambda: small_cnn(10, image_size=16), SHAPE, **{key: value})
