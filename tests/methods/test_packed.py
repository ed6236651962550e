"""Packed-Ensembles: one network of grouped convolutions is M thin networks."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ensembles
from ensembles import cost
from ensembles.backbones import resnet18, resnet50, small_cnn, wrn
from ensembles.errors import UserError


def test_equals_the_grouped_network_of_the_paper():
    """Figure 3c: a full first convolution, then convolutions with M groups, computed here by hand."""
    ensemble = ensembles.packed(lambda: small_cnn(10), M=4, alpha=2).eval()
    x = torch.randn(5, 3, 32, 32)
    layers = [[layer for layer in network.modules() if isinstance(layer, nn.Conv2d)] for network in ensemble.networks]
    heads = [
        next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)) for network in ensemble.networks
    ]
    features = x
    for depth in range(3):
        weight = torch.cat([member[depth].weight for member in layers])
        bias = torch.cat([member[depth].bias for member in layers])
        groups = 1 if depth == 0 else 4
        features = F.max_pool2d(F.relu(F.conv2d(features, weight, bias, padding=1, groups=groups)), 2)
    by_member = features.unflatten(1, (4, -1)).flatten(2)
    logits = torch.stack([by_member[:, m] @ head.weight.T + head.bias for m, head in enumerate(heads)])
    torch.testing.assert_close(ensemble(x), logits)


def test_members_do_not_see_each_other():
    ensemble = ensembles.packed(lambda: resnet18(10), M=3, alpha=1, gamma=2, min_channels=1)
    logits = ensemble(torch.randn(2, 3, 32, 32))
    for m in range(3):
        gradients = torch.autograd.grad(
            logits[m].sum(), list(ensemble.parameters()), retain_graph=True, allow_unused=True
        )
        own = {id(p) for p in ensemble.networks[m].parameters()}
        for parameter, gradient in zip(ensemble.parameters(), gradients, strict=True):
            reached = gradient is not None and bool(gradient.abs().sum() > 0)
            assert not reached or id(parameter) in own
        assert any(g is not None and g.abs().sum() > 0 for g in gradients)


def test_alpha_M_is_a_deep_ensemble():
    backbone = resnet18(10)
    ensemble = ensembles.packed(backbone, M=4, alpha=4, gamma=1)
    assert cost.parameters(ensemble) == 4 * cost.parameters(backbone)
    weights = [network.conv1.weight for network in ensemble.networks]
    assert all(not torch.equal(weights[0], weight) for weight in weights[1:])


@pytest.mark.parametrize(
    ("backbone", "params", "mult_adds"),
    [
        (resnet18, 8_175_784, 0.481e9),
        (resnet50, 14_552_232, 1.004e9),
        (lambda n: wrn(num_classes=n, depth=28, widen_factor=10), 19_352_008, None),
    ],
)
def test_counts_of_table_1(backbone, params, mult_adds):
    """Packed-Ensembles, Table 1, CIFAR-10: M = 4, alpha = gamma = 2."""
    with torch.device("meta"):
        ensemble = ensembles.packed(lambda: backbone(10), M=4, alpha=2, gamma=2)
    assert cost.parameters(ensemble) == params
    if mult_adds:
        assert cost.multiply_adds(ensemble, (3, 32, 32)) == pytest.approx(mult_adds, rel=1e-3)


def test_layer_rule_of_resnets():
    """Subgroups from 64 member channels a group on, none in the stem or a block's first convolution."""
    network = ensembles.packed(lambda: resnet18(10), M=4, alpha=2, gamma=2).member(0)
    assert network.conv1.groups == 1
    assert network.layer1[0].conv2.groups == 1  # 32 channels
    assert network.layer3[0].conv1.groups == 1
    assert network.layer3[0].conv2.groups == 2  # 128 channels
    with pytest.warns(UserWarning, match="gamma = 2 changes nothing"):
        ensembles.packed(lambda: small_cnn(10), M=2, alpha=2, gamma=2)


def test_fractional_widths_are_rounded_up_and_said_once():
    with pytest.warns(UserWarning, match="rounded up: 16 -> 6") as caught:
        ensemble = ensembles.packed(lambda: small_cnn(10), M=3, alpha=1)
    assert ensemble.member(0)(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert len({str(warning.message) for warning in caught}) == 1


@pytest.mark.parametrize("settings", [{"M": 0}, {"alpha": 0}, {"gamma": 0}, {"M": 2.5}, {"gamma": 1.5}, {"alpha": -1}])
def test_refuses(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        ensembles.packed(lambda: small_cnn(10), **settings)


def test_refuses_a_network_that_cannot_be_thinned():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.fc = nn.Linear(8, 10)

        def forward(self, x):
            return self.fc(self.conv(x).mean((2, 3)) + torch.ones(8, device=x.device))

    with pytest.raises(UserError, match=r"Fixed does not work at 0\.5 times its width"):
        ensembles.packed(Fixed(), M=4, alpha=2)


def test_subgroups_that_make_an_ensemble_larger_are_said():
    plain = ensembles.packed(lambda: small_cnn(10, width=4), M=4, alpha=2)
    with pytest.warns(UserWarning, match="gamma = 3 makes this ensemble larger") as told:
        larger = ensembles.packed(lambda: small_cnn(10, width=4), M=4, alpha=2, gamma=3)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (larger, plain)]
    assert counts[0] > counts[1]
    assert any(all(f"{count:,}" in str(warning.message) for count in counts) for warning in told)


@pytest.mark.parametrize("settings", [{"M": 1000, "alpha": 1000}, {"alpha": 399, "gamma": 1000}, {"alpha": 1000}])
def test_networks_that_no_memory_holds_are_refused_at_once(settings, monkeypatch):
    monkeypatch.setattr("ensembles.memory.SHARE", 1e-3)
    with pytest.raises(UserError, match=r"GiB of memory|at most 100 times method.M"):
        ensembles.packed(lambda: resnet18(10), **settings)


def trained(tiny, *arguments):
    """The results of a tiny packed ensemble, and its members' differences."""
    ended = tiny("method=packed", "method.M=2", *arguments)
    assert ended.code == 0, ended.err
    folder = Path(ended.out.split("Results and plots: ")[1].split()[0])
    return json.loads((folder / "results.json").read_text())


def test_members_that_start_alike_and_see_the_same_batches_stay_alike(tiny):
    common = ("method.initialisation=common",)
    alike = trained(tiny, *common)
    assert alike["diversity/kl"] == alike["diversity/disagreement"] == 0
    assert alike["members/nll"][0] == alike["members/nll"][1] == pytest.approx(alike["test/nll"])
    assert trained(tiny, *common, "method.batches=own")["diversity/kl"] > 0
    exact = trained(tiny, *common, "trainer.deterministic=true")
    timed = {key for key in alike if key.startswith("cost/")}
    assert {k: v for k, v in exact.items() if k not in timed} == {k: v for k, v in alike.items() if k not in timed}


def test_a_source_that_there_is_not(tiny):
    ended = tiny("method=packed", "method.initialisation=shared")
    assert ended.code == 1 and "method.initialisation is 'shared', but must be own or common" in ended.err
