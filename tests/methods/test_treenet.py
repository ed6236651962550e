"""TreeNet: a trunk that runs once, and branches of their own."""

import pytest
import torch
from torch import nn

import ensembles
from ensembles import cost
from ensembles.backbones import mlp, resnet18, resnet50, small_cnn, timm_model, torchvision_model, wrn
from ensembles.errors import UserError


def tiny_vit():
    return timm_model(
        "vit_tiny_patch16_224", 10, image_size=16, kwargs={"patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
    )


def test_equals_trunk_and_branches_run_by_hand():
    ensemble = ensembles.treenet(lambda: wrn(16, 1, 10), M=3).eval()
    x = torch.randn(4, 3, 32, 32)
    first = ensemble.networks[0]
    trunk = first.layer2(first.layer1(first.conv1(x)))
    for m, network in enumerate(ensemble.networks):
        features = network.flatten(network.avgpool(network.relu(network.bn(network.layer3(trunk)))))
        torch.testing.assert_close(ensemble(x)[m], network.fc(features))


def test_branches_start_apart():
    ensemble = ensembles.treenet(wrn(16, 1, 10), M=3)
    for place in ("layer3.0.conv1", "layer3.1.conv2", "fc"):
        weights = [network.get_submodule(place).weight for network in ensemble.networks]
        assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_parameters_and_multiply_adds_of_wrn28_10():
    """Stem and two groups once; the third group, norm and last layer M times."""
    with torch.device("meta"):
        backbone = wrn(28, 10, 10)
        ensemble = ensembles.treenet(lambda: wrn(28, 10, 10), M=3)
    rest = sum(cost.parameters(module) for module in (backbone.layer3, backbone.bn, backbone.fc))
    assert cost.parameters(ensemble) == 36_479_194 + 2 * rest
    group = 640 * 8 * 8 * (9 * (320 + 7 * 640) + 320) + 6400
    single = cost.multiply_adds(backbone, (3, 32, 32))
    assert cost.multiply_adds(ensemble, (3, 32, 32)) == single + 2 * group
    own = sum(parameter.numel() for parameter in ensemble.own_parameters())
    assert own == 3 * rest


@pytest.mark.parametrize(
    ("backbone", "split", "size"),
    [
        (lambda: resnet18(10, width=0.125), "layer3", 32),
        (lambda: resnet50(10, width=0.125), "layer3", 32),
        (lambda: small_cnn(10), "conv3", 32),
        (lambda: mlp(10), "fc2", 32),
        (lambda: torchvision_model("squeezenet1_1", 10, image_size=32), "features.10", 32),
        (lambda: timm_model("convnext_atto", 10, image_size=32), "stages.2", 32),
        (tiny_vit, "blocks.1", 16),
    ],
)
def test_finds_where_branches_begin(backbone, split, size):
    ensemble = ensembles.treenet(backbone, M=2, input_shape=(3, size, size)).eval()
    assert ensemble.split == split
    x = torch.randn(2, 3, size, size)
    for m in range(2):
        torch.testing.assert_close(ensemble(x)[m], ensemble.member(m)(x), rtol=1e-4, atol=1e-5)


def test_a_position_embedding_belongs_to_the_trunk():
    first, second = ensembles.treenet(tiny_vit, M=2, split="blocks.1", input_shape=(3, 16, 16)).networks
    assert first.pos_embed is second.pos_embed and first.cls_token is second.cls_token
    assert first.blocks[0] is second.blocks[0] and first.blocks[1] is not second.blocks[1]


def test_gradients_are_those_of_whole_members():
    ensemble = ensembles.treenet(lambda: small_cnn(10), M=2)
    x = torch.randn(4, 3, 32, 32)
    parameters = list(ensemble.parameters())
    together = torch.autograd.grad(ensemble(x).square().sum(), parameters)
    apart = torch.autograd.grad(sum(network(x).square().sum() for network in ensemble.networks), parameters)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_the_trunk_runs_once_a_pass():
    ensemble = ensembles.treenet(lambda: resnet18(10, width=0.125), M=3)
    ensemble(torch.randn(4, 3, 32, 32))
    assert [network.bn1.num_batches_tracked.item() for network in ensemble.networks] == [1, 1, 1]
    assert [network.layer3[0].bn1.num_batches_tracked.item() for network in ensemble.networks] == [1, 1, 1]
    assert ensemble.networks[0].bn1 is ensemble.networks[1].bn1


def test_branches_that_begin_in_place_do_not_see_each_other():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Hardtanh(-0.1, 0.1, inplace=True), nn.Linear(8, 3))
    ensemble = ensembles.treenet(network, M=2, split="2", input_shape=(3, 2, 2))
    x = torch.randn(5, 3, 2, 2)
    expected = torch.stack([member(x) for member in ensemble.networks])
    torch.testing.assert_close(ensemble(x), expected)
    ensemble(x).sum().backward()


def test_one_layer_used_on_both_sides_is_shared():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.again, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.again(self.into(self.again(x))))

    ensemble = ensembles.treenet(Twice(), M=2, split="into", input_shape=(4,))
    x = torch.randn(3, 4)
    for m, network in enumerate(ensemble.networks):
        assert network.again is ensemble.networks[0].again
        torch.testing.assert_close(ensemble(x)[m], network(x))


class Touched(nn.Module):
    """Adds to the output of a layer in place and uses it on both sides of `b`."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = (nn.Linear(4, 4) for _ in range(4))
        self.never = nn.ModuleList([nn.Identity()])

    def forward(self, x):
        early = self.a(x)
        early += 1
        return self.out(self.c(self.b(early)) + early)


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("c", "cannot be cut at method.split=c"),
        ("aa", "method.split=aa is no module of this Touched: did you mean a"),
        ("elsewhere", "it has a, b, c, out, never"),
        ("never", "never runs never by itself"),
    ],
)
def test_refuses_a_split(split, sentence):
    with pytest.raises(UserError, match=sentence):
        ensembles.treenet(Touched(), M=2, split=split, input_shape=(4,))
