"""Naive multi-head: one body, M last layers."""

import pytest
import torch
from torch import nn

import ensembles
from ensembles import cost
from ensembles.backbones import resnet18, small_cnn, torchvision_model, wrn
from ensembles.errors import UserError


def test_equals_the_body_and_each_head_by_hand():
    ensemble = ensembles.naive_multihead(lambda: small_cnn(10), M=3)
    *body, head = ensemble.network.children()
    x = features = torch.randn(4, 3, 32, 32)
    for layer in body:
        features = layer(features)
    for m in range(3):
        rows = slice(10 * m, 10 * m + 10)
        torch.testing.assert_close(ensemble(x)[m], features @ head.weight[rows].T + head.bias[rows])


def test_parameters_of_wrn28_10():
    with torch.device("meta"):
        ensemble = ensembles.naive_multihead(lambda: wrn(28, 10, 10), M=3)
    assert cost.parameters(ensemble) == 36_479_194 + 2 * 6410
    assert sum(parameter.numel() for parameter in ensemble.own_parameters()) == 3 * 6410


def test_a_convolution_can_be_the_last_layer():
    ensemble = ensembles.naive_multihead(lambda: torchvision_model("squeezenet1_1", 10, image_size=32), M=2).eval()
    x = torch.randn(2, 3, 32, 32)
    assert ensemble(x).shape == (2, 2, 10)
    torch.testing.assert_close(ensemble(x)[1], ensemble.member(1)(x), rtol=1e-4, atol=1e-5)


def test_own_inputs_reach_their_own_heads():
    ensemble = ensembles.naive_multihead(lambda: resnet18(10, width=0.125), M=3).eval()
    x = torch.randn(3, 4, 3, 32, 32)
    logits = ensemble.each(x)
    for m in range(3):
        torch.testing.assert_close(logits[m], ensemble.member(m)(x[m]), rtol=1e-4, atol=1e-5)


def test_refuses_a_network_that_picks_among_its_last_layers_outputs():
    class Picks(nn.Sequential):
        def forward(self, x):
            return super().forward(x)[:, [2, 0]]

    with pytest.raises(UserError, match=r"Picks does not pass on its last layer's outputs \(1\)"):
        ensembles.naive_multihead(Picks(nn.Flatten(), nn.Linear(12, 3)), M=2, input_shape=(3, 2, 2))
