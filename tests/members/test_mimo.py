"""MIMO: M inputs, M outputs, one network."""

import pytest
import torch
import torch.nn.functional as F

import ensembles
from ensembles import cost
from ensembles.backbones import mlp, resnet18, small_cnn, wrn
from ensembles.errors import UserError


def test_parameters_of_the_paper():
    """Section 2, footnote 2: 36.479 M parameters, in the MIMO configuration with M = 3 36.492 M."""
    with torch.device("meta"):
        assert cost.parameters(wrn(num_classes=10, depth=28, widen_factor=10)) == 36_479_194
        assert (
            cost.parameters(ensembles.mimo(lambda: wrn(num_classes=10, depth=28, widen_factor=10), M=3)) == 36_492_878
        )


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


def test_member_is_an_ordinary_network():
    backbone = resnet18(10)
    ensemble = ensembles.mimo(backbone, M=3).eval()
    x = torch.randn(2, 3, 32, 32)
    for m in range(3):
        network = ensemble.member(m)
        assert cost.parameters(network) == cost.parameters(resnet18(10))
        torch.testing.assert_close(network(x), ensemble(x)[m], rtol=1e-4, atol=1e-5)


def test_every_output_depends_on_every_input():
    ensemble = ensembles.mimo(lambda: small_cnn(10), M=3)
    x = torch.randn(3, 1, 3, 32, 32, requires_grad=True)
    for m in range(3):
        (gradient,) = torch.autograd.grad(ensemble.each(x)[m].sum(), x)
        assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_one_subnetwork_is_the_backbone():
    backbone = small_cnn(10)
    x = torch.randn(2, 3, 32, 32)
    expected = backbone(x)
    torch.testing.assert_close(ensembles.mimo(backbone, M=1)(x)[0], expected)


def test_refuses():
    with pytest.raises(UserError, match="M is 0"):
        ensembles.mimo(lambda: small_cnn(10), M=0)
