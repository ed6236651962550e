"""What all ensembles with folded weights do alike, on any backbone."""

from itertools import product

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

import ensembles
from ensembles import cost
from ensembles.backbones import mlp, resnet18, small_cnn, timm_model, torchvision_model, wrn
from ensembles.errors import UserError

SIZE = 16
BACKBONES = {
    "resnet18": lambda: resnet18(10, image_size=SIZE, width=0.125),
    "wrn": lambda: wrn(16, 1, 10, image_size=SIZE),
    "small_cnn": lambda: small_cnn(10, image_size=SIZE),
    "mobilenet": lambda: torchvision_model("mobilenet_v3_small", 10, image_size=SIZE, width=0.5),
    "timm_cnn": lambda: timm_model("test_resnet", 10, image_size=SIZE),
    "timm_vit": lambda: timm_model("test_vit", 10, image_size=SIZE),
}
METHODS = {
    "batch_ensemble": lambda backbone, **settings: ensembles.batch_ensemble(backbone, **settings),
    "batch_ensemble_bn": lambda backbone, **settings: ensembles.batch_ensemble(
        backbone, member_batch_norm=True, **settings
    ),
    "masksembles": lambda backbone, **settings: ensembles.masksembles(backbone, **settings),
    "mixture": lambda backbone, **settings: ensembles.mixture(backbone, **settings),
    "mixture_flat": lambda backbone, **settings: ensembles.mixture(backbone, budget=0.5, grouping="flat", **settings),
}
LONG = [(method, "mobilenet") for method in METHODS if method != "batch_ensemble"]
PAIRS = [
    pytest.param(*pair, marks=pytest.mark.slow if pair in LONG else ())
    for pair in product(METHODS, BACKBONES)
    if pair != ("mixture", "small_cnn")
]


def build(method, backbone, M=3):
    return METHODS[method](BACKBONES[backbone], M=M, input_shape=(3, SIZE, SIZE))


def images(*shape):
    return torch.randn(*shape, 3, SIZE, SIZE)


@pytest.mark.parametrize(("method", "backbone"), PAIRS)
def test_members_are_ordinary_networks(method, backbone):
    """Members start apart; after a step that reaches every parameter, and in an ensemble restored from its state, each
    is a network with as many plain weights as the backbone."""
    trained, ensemble = build(method, backbone), build(method, backbone)
    x = images(3, 4)
    logits = trained(x[0])
    assert (logits[0] - logits[1]).abs().mean() > 0.1 * logits[0].std(0).mean()
    torch.cat([logits, trained.each(x)], dim=1).log_softmax(-1)[..., 0].mean().backward()
    assert not [name for name, parameter in trained.named_parameters() if parameter.grad is None]
    torch.optim.SGD(trained.parameters(), lr=0.1).step()
    ensemble.load_state_dict(trained.state_dict())
    with torch.no_grad():
        logits, each = ensemble.eval()(x[0]), ensemble.each(x)
        plain = BACKBONES[backbone]()
        torch.testing.assert_close(trained.eval()(x[0]), logits, rtol=0, atol=0)
        for m in range(3):
            network = ensemble.member(m).eval()
            assert cost.parameters(network) == cost.parameters(plain)
            assert network.state_dict().keys() == plain.state_dict().keys()
            torch.testing.assert_close(network(x[0]), logits[m])
            torch.testing.assert_close(network(x[m]), each[m])


@pytest.mark.parametrize("method", [method for method in METHODS if method != "masksembles"])
@pytest.mark.parametrize("backbone", ["wrn", "timm_vit"])
def test_a_member_does_not_reach_others_own_numbers(method, backbone):
    """In training too, unless members share a batch norm, through which all see all."""
    ensemble = build(method, backbone).train(method != "batch_ensemble")
    names = {id(parameter): name for name, parameter in ensemble.named_parameters()}
    own = list(ensemble.own_parameters())
    logits = ensemble(images(4))
    for m in range(3):
        gradients = torch.autograd.grad(logits[m].square().sum(), own, retain_graph=True, allow_unused=True)
        reached = {names[id(p)]: g for p, g in zip(own, gradients, strict=True) if g is not None and g.any()}
        assert reached
        for name, gradient in reached.items():
            if name.startswith("norms.members."):
                assert name.startswith(f"norms.members.{m}.")
            else:
                assert not torch.cat([gradient[:m], gradient[m + 1 :]]).any()


@pytest.mark.parametrize("method", ["batch_ensemble", "masksembles"])
def test_shared_batch_norm_sees_all_members_together(method):
    """Its running mean moves by the mean over all members' activations, computed here by hand."""

    def backbone():
        last = nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 12**2, 10)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), *last)

    ensemble = METHODS[method](backbone, M=3, input_shape=(3, SIZE, SIZE))
    networks = [ensemble.member(m) for m in range(3)]
    for x in (images(4), images(3, 4)):
        norm = ensemble.network[3]
        norm.reset_running_stats()
        logits = (ensemble if x.dim() == 4 else ensemble.each)(x)
        own = [x] * 3 if x.dim() == 4 else x
        hidden = torch.cat(
            [network[2](network[1](network[0](mine))) for network, mine in zip(networks, own, strict=True)]
        )
        mean, var = hidden.mean((0, 2, 3)), hidden.var((0, 2, 3))
        torch.testing.assert_close(norm.running_mean, 0.1 * mean)
        torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * var)
        normal = (hidden - mean[:, None, None]) / (hidden.var((0, 2, 3), correction=0)[:, None, None] + 1e-5).sqrt()
        parts = zip(networks, normal.chunk(3), strict=True)
        by_hand = torch.stack([network[5](part.flatten(1)) for network, part in parts])
        torch.testing.assert_close(logits, by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["batch_ensemble_bn", "mixture"])
def test_own_batch_norm_does_not_see_the_others(method):
    ensemble = build(method, "wrn")
    networks = [ensemble.member(m).train() for m in range(3)]
    x = images(4)
    logits = ensemble(x)
    for m, network in enumerate(networks):
        torch.testing.assert_close(logits[m], network(x), rtol=1e-4, atol=1e-4)
        after = ensemble.member(m).state_dict()
        for name, tensor in network.state_dict().items():
            if "running" in name or "tracked" in name:
                torch.testing.assert_close(after[name], tensor)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", ["masksembles", "mixture"])
def test_a_first_layer_that_members_share_runs_once(method, training):
    ensemble = build(method, "wrn").train(training)
    convolve, seen = nn.functional.conv2d, []

    def recorded(x, weight, *args):
        if weight is ensemble.network.conv1.weight:
            seen.append(len(x))
        return convolve(x, weight, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "conv2d", recorded)
        ensemble(images(4))
    assert seen == [4]


def test_a_network_that_only_touches_its_input_first_is_right_too():
    """Then the first layer does not read the common input itself, and runs for each member."""

    class Shifted(nn.Sequential):
        def forward(self, x):
            return super().forward(x + 1)

    ensemble = ensembles.masksembles(Shifted(nn.Flatten(), nn.Linear(12, 16), nn.Linear(16, 3)), input_shape=(3, 2, 2))
    x = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(ensemble(x), torch.stack([ensemble.member(m)(x) for m in range(4)]))


def test_takes_vectors():
    ensemble = ensembles.batch_ensemble(lambda: mlp(10, in_channels=5, image_size=1), M=2, input_shape=(5,))
    assert ensemble(torch.randn(7, 5)).shape == (2, 7, 10)


def test_torchvision_attention():
    """nn.MultiheadAttention keeps its input projection as a bare parameter, and uses its output's without a call."""
    network = VisionTransformer(SIZE, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10)
    nn.init.normal_(network.heads.head.weight)
    attention = "encoder.layers.encoder_layer_1.self_attention."
    for build_ in (ensembles.batch_ensemble, ensembles.masksembles, ensembles.mixture):
        ensemble = build_(network, M=2, input_shape=(3, SIZE, SIZE))
        x = images(2)
        folded, logits = ensemble.weights(1), ensemble(x)
        assert {f"{attention}in_proj_weight", f"{attention}out_proj.weight"} <= folded.keys()
        torch.testing.assert_close(logits[1], ensemble.member(1)(x), rtol=1e-4, atol=1e-5)
        assert (logits[0] - logits[1]).abs().mean() > 0.1 * logits[0].std(0).mean()


def test_refuses_attention_behind_a_shared_batch_norm():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.attention = nn.BatchNorm1d(3), nn.MultiheadAttention(4, 1, batch_first=True)
            self.fc = nn.Linear(4, 10)

        def forward(self, x):
            x = self.norm(x.flatten(2))
            return self.fc(self.attention(x, x, x)[0].mean(1))

    with pytest.raises(UserError, match="Mixed has batch norms that members would share and attention"):
        ensembles.batch_ensemble(Mixed(), input_shape=(3, 2, 2))
    ensemble = ensembles.batch_ensemble(Mixed(), member_batch_norm=True, input_shape=(3, 2, 2))
    assert ensemble(torch.randn(5, 3, 2, 2)).shape == (4, 5, 10)
