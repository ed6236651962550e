"""MixtureEnsembles: layers mixed from templates."""

from functools import partial

import pytest
import torch
from torch import nn

from ensembles import cost
from ensembles.backbones import resnet18, small_cnn, timm_model, wrn
from ensembles.errors import UserError
from ensembles.methods.mixture import dealt, mixture

SHAPE = (3, 16, 16)
CIFAR100 = 36_536_884


def wrn28(num_classes=100):
    return wrn(28, 10, num_classes)


def small():
    return wrn(16, 1, 10, image_size=16)


def convolutions(network):
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}


def counts(ensemble):
    own = sum(parameter.numel() for parameter in ensemble.own_parameters())
    mixing = sum(parameter.numel() for parameter in ensemble.mixing_weights())
    return cost.parameters(ensemble) - own, mixing, own - mixing


@pytest.mark.parametrize(
    ("max_params", "grouping", "templates"),
    [(7e6, "flat", None), (15e6, "shape", 2), (None, "shape", 7), (120e6, "shape", 22)],
)
def test_budgets_of_the_paper(max_params, grouping, templates):
    """WRN-28-10 on CIFAR-100, M = 4: templates of its three groups of seven layers, and what is stored in all."""
    with torch.device("meta"):
        ensemble = mixture(wrn28, max_params=max_params, grouping=grouping)
    shared, mixing, norms = counts(ensemble)
    assert shared <= (max_params or CIFAR100)
    assert norms == 4 * 17_952  # 25 batch norms a member
    if grouping == "flat":
        assert shared == max_params and mixing == 4 * 5 * 29
        return
    assert [tuple(bank.templates.shape) for bank in ensemble.banks] == [
        (templates, 9 * width**2) for width in (160, 320, 640)
    ]
    assert mixing == 4 * 21 * min(5, templates)  # 105 a member with five templates a layer
    assert shared == CIFAR100 - 17_952 + (templates - 7) * 9 * (160**2 + 320**2 + 640**2)


def test_a_budget_below_the_backbone_has_a_template_less():
    with torch.device("meta"):
        assert [len(bank.templates) for bank in mixture(wrn28, max_params=36.5e6).banks] == [6, 6, 6]
        assert [len(bank.templates) for bank in mixture(wrn28, max_params=CIFAR100).banks] == [7, 7, 7]


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("budget", [1.0, 1.4])
def test_equals_the_equation(budget, disjoint):
    """Each member's weights mixed by hand, template by template, run through an ordinary network."""
    ensemble = mixture(small, M=3, budget=budget, templates=3, disjoint=disjoint, input_shape=SHAPE)
    ensemble(torch.randn(8, *SHAPE))
    ensemble.eval()
    shapes = {}
    for name, layer in convolutions(small()).items():
        shapes.setdefault(tuple(layer.weight.shape), []).append(name)
    groups = [names for names in shapes.values() if len(names) > 1]
    assert len(groups) == len(ensemble.banks) == 3
    x = torch.randn(4, *SHAPE)
    for m in range(3):
        network = small().eval()
        state = {name: tensor for name, tensor in ensemble.network.state_dict().items() if tensor is not None}
        network.load_state_dict(state, strict=False)
        for norm, own in zip(ensemble.norms.names, ensemble.norms.members[m], strict=True):
            network.get_submodule(norm).load_state_dict(own.state_dict())
        for names, bank in zip(groups, ensemble.banks, strict=True):
            n = int(budget * len(names))
            assert len(bank.templates) == n
            turn = 0
            for j, name in enumerate(names):
                conv = network.get_submodule(name)
                outputs, inputs, height, width = conv.weight.shape
                mixed = torch.zeros_like(conv.weight)
                start = turn + (3 * m if disjoint else 0)
                for t in range(3):
                    template = bank.templates[(start + t) % n].view(outputs, height, width, inputs).permute(0, 3, 1, 2)
                    mixed += bank.mixing[m, j, t] * template
                conv.weight = nn.Parameter(mixed.detach())
                turn += 9 if disjoint else 3
        torch.testing.assert_close(ensemble(x)[m], network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("disjoint", [False, True])
def test_flat_equals_the_equation(disjoint):
    """Successive slices of one blob, wrapping round where it ends, for layers of every shape; gradients too."""
    ensemble = mixture(
        lambda: small_cnn(10, image_size=16),
        M=2,
        budget=0.3,
        templates=3,
        grouping="flat",
        disjoint=disjoint,
        input_shape=SHAPE,
    ).double()
    (bank,) = ensemble.banks
    blob, mixing = bank.blob.detach().clone().requires_grad_(), bank.mixing.detach().clone().requires_grad_()
    network = small_cnn(10, image_size=16).double()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    size = int(0.3 * sum(p.numel() for p in network.parameters())) - sum(len(b) for b in biases)
    assert len(blob) == size
    x = torch.randn(4, *SHAPE, dtype=torch.double)
    logits = []
    for m in range(2):
        own, start = {}, 0
        for j, layer in enumerate(layers):
            outputs, inputs, *space = layer.weight.shape
            n = layer.weight.numel()
            place = start + (3 * n * m if disjoint else 0)
            mixed = sum(mixing[m, j, t] * blob[(place + t * n + torch.arange(n)) % size] for t in range(3))
            name = next(key for key, module in network.named_modules() if module is layer)
            own[f"{name}.weight"] = mixed.view(outputs, *space, inputs).movedim(-1, 1)
            own[f"{name}.bias"] = ensemble.network.get_submodule(name).bias
            start += 3 * n * (2 if disjoint else 1)
        logits.append(torch.func.functional_call(network, own, (x,)))
    by_hand = torch.stack(logits)
    ours = ensemble(x)
    torch.testing.assert_close(ours, by_hand)
    gradients = torch.autograd.grad(ours.square().sum(), [bank.blob, bank.mixing])
    for gradient, expected in zip(gradients, torch.autograd.grad(by_hand.square().sum(), [blob, mixing]), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_mixing_costs_no_passes():
    """Weights are mixed once for a batch of any size, so an image costs four passes, with the shared stem once."""
    with torch.device("meta"):
        ensemble, backbone = mixture(wrn28, max_params=120e6), wrn28()
    passes = cost.multiply_adds(ensemble, (3, 32, 32)) / cost.multiply_adds(backbone, (3, 32, 32))
    assert passes == pytest.approx(4, rel=1e-3)


def test_templates_are_dealt_round_robin():
    alike = dealt(templates=7, layers=7, M=4, each=5, disjoint=False)
    assert alike[0, :3].tolist() == [[0, 1, 2, 3, 4], [5, 6, 0, 1, 2], [3, 4, 5, 6, 0]]
    assert (alike == alike[:1]).all()
    assert torch.bincount(alike[0].flatten()).tolist() == [5] * 7
    disjoint = dealt(templates=22, layers=7, M=4, each=5, disjoint=True)
    assert len(disjoint[:, 0].flatten().unique()) == 20  # the first layer's are all different
    assert torch.bincount(disjoint.flatten()).max() <= 7


def test_a_group_with_too_small_a_share_is_one_layer_that_all_share():
    """At 0.6x, four layers have two templates; three have one, which serves them all as an ordinary layer."""
    ensemble = mixture(small, budget=0.6, input_shape=SHAPE)
    assert [tuple(bank.templates.shape) for bank in ensemble.banks] == [(2, 9 * 16**2)]
    assert sorted(len(names) for names in ensemble.shared_layers)[-2:] == [3, 3]
    network = ensemble.member(1)
    for names in ensemble.shared_layers:
        assert len({network.get_submodule(name).weight.data_ptr() for name in names}) == 1
    shared, _, _ = counts(ensemble)
    assert shared <= 0.6 * cost.parameters(small())


def test_banks_for_single_layers():
    """The paper's thin network: 36.5 M are four times WRN-28-5's parameters, so a layer alone has four templates."""
    with torch.device("meta"):
        backbone = partial(wrn, 28, 5, 100)
        ensemble = mixture(backbone, budget=4.0, single_layer_banks=True)
        assert not ensemble.shared_layers
        assert {len(bank.templates) for bank in ensemble.banks if len(bank.group) == 1} == {4}
        assert counts(ensemble)[0] <= 4 * cost.parameters(backbone())
        assert mixture(backbone, budget=1.0, single_layer_banks=True).shared_layers  # a single template is no mix
    ensemble = mixture(lambda: small_cnn(10, image_size=16), budget=2, single_layer_banks=True, input_shape=SHAPE)
    assert [len(bank.templates) for bank in ensemble.banks] == [2] * 4


def test_templates_that_no_layer_would_mix_are_not_stored():
    ensemble = mixture(small, M=2, budget=50, templates=3, input_shape=SHAPE)
    assert [len(bank.templates) for bank in ensemble.banks] == [12, 9, 9]
    disjoint = mixture(small, M=2, budget=50, templates=3, disjoint=True, input_shape=SHAPE)
    assert [len(bank.templates) for bank in disjoint.banks] == [24, 18, 18]


@pytest.mark.parametrize("grouping", ["shape", "flat"])
def test_mixed_weights_start_with_the_variance_of_their_layer(grouping):
    backbone = resnet18(10)
    ensemble = mixture(backbone, M=2, grouping=grouping)
    members = [ensemble.member(m) for m in range(2)]
    mixed = {layer.name for bank in ensemble.banks for layer in bank.group}
    assert len(mixed) > 10
    for name in mixed:
        ordinary = backbone.get_submodule(name).weight
        weights = [network.get_submodule(name).weight for network in members]
        if ordinary.numel() > 10_000:
            for weight in weights:
                assert weight.std().item() == pytest.approx(ordinary.std().item(), rel=0.08)
        assert (weights[0] - weights[1]).abs().mean() > 0.05 * ordinary.std()


def test_layer_norms_are_the_members_own():
    ensemble = mixture(lambda: timm_model("test_vit", 10, image_size=16), M=2, input_shape=SHAPE)
    names = [name for name, module in ensemble.network.named_modules() if isinstance(module, nn.LayerNorm)]
    assert ensemble.norms.names == names and len(names) > 2
    assert not any(name.startswith("network") and "norm" in name for name, _ in ensemble.named_parameters())


def test_refuses_where_nothing_would_be_mixed():
    with pytest.raises(UserError, match="Nothing of this Sequential would be mixed"):
        mixture(lambda: small_cnn(10))
    with pytest.raises(UserError, match="Nothing of this Sequential would be mixed"):
        mixture(lambda: wrn(10, 2, 10))
    mixture(lambda: wrn(16, 2, 10))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"budget": 0}, "budget is 0"),
        ({"budget": 1300}, "below 1000: max_params is their number"),
        ({"max_params": 0}, "max_params is 0"),
        ({"templates": 0}, "templates is 0"),
        ({"grouping": "type"}, r"method\.grouping is 'type', but must be shape or flat"),
        ({"budget": 0.5}, r"method\.budget is [\d,]+ parameters, but .* take at least [\d,]+"),
        (
            {"max_params": 1300, "grouping": "flat"},
            r"method\.max_params is 1,300 parameters, but .* take at least [\d,]+",
        ),
    ],
)
def test_refuses(settings, sentence):
    hidden = [nn.Linear(64, 64) for _ in range(4)]
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 64), *hidden, nn.Linear(64, 1000))
    with pytest.raises(UserError, match=sentence):
        mixture(network, input_shape=(3, 2, 2), **settings)
