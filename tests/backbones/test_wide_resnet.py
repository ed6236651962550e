"""Wide ResNets against the formula of a pre-activation block, written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ensembles.backbones import wrn
from ensembles.errors import UserError


def batch_norm(x, norm):
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


def by_hand(network, x, late_stride):
    x = F.conv2d(x, network.conv1.weight, network.conv1.bias, padding=1)
    for name, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2)):
        for position, block in enumerate(network.get_submodule(name)):
            strides = (1, 1) if position else (1, stride) if late_stride else (stride, 1)
            out = F.relu(batch_norm(x, block.bn1))
            out = F.conv2d(out, block.conv1.weight, block.conv1.bias, strides[0], 1)
            out = F.relu(batch_norm(out, block.bn2))
            out = F.conv2d(out, block.conv2.weight, block.conv2.bias, strides[1], 1)
            if out.shape != x.shape:
                x = F.conv2d(x, block.projection.weight, block.projection.bias, stride)
            x = x + out
    x = F.relu(batch_norm(x, network.bn)).mean((2, 3))
    return x @ network.fc.weight.T + network.fc.bias


def by_hand_after_activation(network, x, late_stride):
    """Conv-BN-ReLU-conv, add, BN, ReLU, as in the code of Packed-Ensembles."""

    def conv(x, layer, stride, padding):
        return F.conv2d(x, layer.weight, layer.bias, stride, padding)

    x = F.relu(batch_norm(conv(x, network.conv1, 1, 1), network.bn))
    for name, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2)):
        for position, block in enumerate(network.get_submodule(name)):
            strides = (1, 1) if position else (1, stride) if late_stride else (stride, 1)
            out = F.relu(batch_norm(conv(x, block.conv1, strides[0], 1), block.bn1))
            out = conv(out, block.conv2, strides[1], 1)
            if out.shape != x.shape:
                x = conv(x, block.projection, stride, 0)
            x = F.relu(batch_norm(x + out, block.bn2))
    return x.mean((2, 3)) @ network.fc.weight.T + network.fc.bias


@pytest.mark.parametrize("preactivation", [True, False])
@pytest.mark.parametrize("late_stride", [False, True])
@pytest.mark.parametrize("conv_bias", [False, True])
def test_is_the_written_out_formula(late_stride, conv_bias, preactivation):
    settings = {"late_stride": late_stride, "conv_bias": conv_bias, "preactivation": preactivation}
    network = wrn(16, 1, 10, image_size=16, **settings)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias)
    x = torch.randn(4, 3, 16, 16)
    written_out = by_hand if preactivation else by_hand_after_activation
    torch.testing.assert_close(network(x), written_out(network, x, late_stride), rtol=1e-4, atol=1e-4)


def test_the_order_changes_no_count():
    with torch.device("meta"):
        before, after = (wrn(28, 10, 10, preactivation=order) for order in (True, False))
    assert [sum(p.numel() for p in network.parameters()) for network in (before, after)] == [36_479_194] * 2
    shapes = [sorted(tuple(p.shape) for p in network.parameters()) for network in (before, after)]
    assert shapes[0] == shapes[1]


def test_projects_only_where_the_shape_changes():
    network = wrn(16, 1, 10)
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert [name for name in convolutions if "projection" in name] == ["layer2.0.projection", "layer3.0.projection"]
    wide = [name for name, module in wrn(16, 2, 10).named_modules() if isinstance(module, nn.Conv2d)]
    assert "layer1.0.projection" in wide


def test_starts_he_normal():
    network = wrn(28, 4, 10, conv_bias=True)
    for layer in (network.layer2[1].conv1, network.layer3[0].projection, network.fc):
        assert layer.weight.std().item() == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize("preactivation", [True, False])
def test_splits_at_its_stages(preactivation):
    """The stages run in the order in which they are listed."""
    network = wrn(10, 1, 10, image_size=8, preactivation=preactivation).eval()
    x = torch.randn(2, 3, 8, 8)
    names = [name for name, _ in network.named_children()]
    assert [name for name in names if name.startswith(("conv", "layer"))] == ["conv1", "layer1", "layer2", "layer3"]
    torch.testing.assert_close(network[3:](network[:3](x)), network(x))


@pytest.mark.parametrize(
    ("depth", "widen_factor", "key"), [(20, 1, "depth"), (4, 1, "depth"), (16.0, 1, "depth"), (16, 0, "widen_factor")]
)
def test_refuses(depth, widen_factor, key):
    with pytest.raises(UserError, match=rf"^model\.{key} is .* must be"):
        wrn(depth, widen_factor, 10)
