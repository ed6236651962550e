"""How networks start, and how their layers start again at another size, against the initialisers' own formulas."""

from functools import partial

import pytest
import torch
from torch import nn

import ensembles
from ensembles.backbones import mlp, resnet18, small_cnn, timm_model, torchvision_model, wrn
from ensembles.errors import UserError
from ensembles.methods.layers import widen_outputs

BUILDERS = {
    "resnet18": resnet18,
    "wrn": partial(wrn, 16, 4, conv_bias=True),
    "small_cnn": partial(small_cnn, width=4),
    "mlp": mlp,
    "timm": partial(timm_model, "resnet18"),
    "torchvision": partial(torchvision_model, "vgg11"),
}


def layers(network):
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def bound(layer):
    return layer.weight[0].numel() ** -0.5


@pytest.mark.parametrize("width", [1, 0.5])
@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_torch_is_uniform_between_the_roots_of_the_fan_in(builder, width):
    network = builder(num_classes=10, init="torch", **({} if width == 1 else {"width": width}))
    for layer in layers(network):
        assert layer.weight.abs().max() <= bound(layer)
        if layer.weight.numel() > 5000:
            assert layer.weight.abs().max() > 0.99 * bound(layer)
            assert layer.weight.std().item() == pytest.approx(bound(layer) / 3**0.5, rel=0.03)
        if layer.bias is not None:
            assert layer.bias.any() and layer.bias.abs().max() <= bound(layer)


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_he_is_normal_with_twice_the_inverse_fan_in(builder):
    for layer in layers(builder(num_classes=10, init="he")):
        if layer.weight.numel() > 5000:
            assert layer.weight.std().item() == pytest.approx(2**0.5 * bound(layer), rel=0.05)
            assert layer.weight.abs().max() > 2 * 2**0.5 * bound(layer)  # not uniform
        assert layer.bias is None or not layer.bias.any()


def test_without_it_a_network_starts_as_its_own_code_has_it():
    network = resnet18(10)
    for conv in (network.layer2[0].conv1, network.layer4[0].conv1):
        assert conv.weight.std().item() == pytest.approx((2 / (conv.out_channels * 9)) ** 0.5, rel=0.03)
    torch.manual_seed(3)
    plain = small_cnn(10).state_dict()
    torch.manual_seed(3)
    convolution = nn.Conv2d(3, 16, 3)
    assert torch.equal(plain["conv1.weight"], convolution.weight)


@pytest.mark.parametrize("build", [partial(timm_model, "resnet18"), partial(torchvision_model, "resnet18")])
def test_refuses_to_draw_pretrained_numbers_anew(build):
    with pytest.raises(UserError, match=r"model\.init draws anew what model\.pretrained loads"):
        build(num_classes=10, pretrained=True, init="he")


def test_refuses_what_there_is_not():
    with pytest.raises(UserError, match=r"^model\.init is 'zeros', but must be torch or he"):
        mlp(10, init="zeros")
    with pytest.raises(UserError, match=r"^model\.redraw is 'never', but must be initialiser or bootstrap"):
        mlp(10, redraw="never")


def test_a_thinner_resnet_goes_by_fan_out_as_torchvisions_does():
    for network in (resnet18(10, width=0.5), ensembles.packed(lambda: resnet18(10), M=4, alpha=2).member(0)):
        for conv in (network.layer2[0].conv1, network.layer4[0].conv1, network.layer4[0].downsample[0]):
            fan_out = conv.out_channels * conv.kernel_size[0] ** 2
            assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
        assert network.conv1.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.1)
        assert network.fc.weight.abs().max() <= bound(network.fc)
        assert network.layer1[0].bn1.weight.eq(1).all() and not network.layer1[0].bn1.bias.any()


def test_spreads_by_fan_out_where_inputs_and_outputs_change_differently():
    """They were too small for MIMO's first layer and too large for convolutions with groups."""
    stem = ensembles.mimo(lambda: resnet18(10), M=3).network.conv1
    assert stem.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.06)
    grouped = ensembles.packed(lambda: resnet18(10), M=4, alpha=2, gamma=2).member(0).layer4[1].conv2
    assert grouped.groups == 2
    assert grouped.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.03)


def test_a_resized_layer_has_numbers_of_its_own():
    """Not the 410 or so of 1,296 that are left when 432 are drawn from with replacement."""
    stem = ensembles.mimo(lambda: wrn(16, 4, 10), M=3).network.conv1
    assert stem.weight.shape == (16, 9, 3, 3)
    assert stem.weight.unique().numel() == 1296
    spread = [ensembles.mimo(lambda: wrn(10, 1, 10), M=3).network.conv1.weight for _ in range(10)]
    assert torch.stack(spread).std().item() == pytest.approx((2 / 81) ** 0.5, rel=0.03)
    last = nn.Sequential(*[small_cnn(10).fc])[0]
    widen_outputs(last, 4)
    assert last.weight.unique().numel() > 0.99 * last.weight.numel() and last.bias.shape == (40,)
    assert last.weight.abs().max() <= bound(last) and last.bias.abs().max() <= bound(last)


def test_a_bootstrap_picks_from_the_original():
    torch.manual_seed(0)
    original = wrn(10, 1, 10).conv1.weight
    torch.manual_seed(0)
    stem = ensembles.mimo(lambda: wrn(10, 1, 10, redraw="bootstrap"), M=3).network.conv1
    assert 380 < stem.weight.unique().numel() < 432
    assert torch.isin((stem.weight * 3**0.5).mul(1e4).round(), original.mul(1e4).round()).float().mean() > 0.99


def test_networks_that_tell_no_initialiser_are_bootstrapped():
    thin = timm_model("resnet18", 10, width=0.5)
    assert thin.conv1.weight.unique().numel() < 0.9 * thin.conv1.weight.numel()


def test_copies_of_a_network_start_apart_by_its_initialiser():
    network = wrn(10, 2, 10)
    one, other = (ensembles.deep_ensemble(network, M=2).member(m).layer3[0].conv2.weight for m in (0, 1))
    assert torch.equal(one, network.layer3[0].conv2.weight)
    assert other.unique().numel() > 0.99 * other.numel()
    assert other.std().item() == pytest.approx(one.std().item(), rel=0.05)
