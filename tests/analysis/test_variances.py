"""Conditional variances of MIMO's pre-activations."""

from functools import partial

import pytest
import torch

from ensembles.analysis.separation import conditional_variances, shares
from ensembles.backbones import mlp, small_cnn
from ensembles.errors import UserError
from ensembles.methods.mimo import mimo
from ensembles.methods.naive_multihead import naive_multihead


def test_of_a_linear_layer_by_hand():
    """A linear layer's pre-activation varies over input m by W_m Cov(x) W_m^T, wherever the others are."""
    ensemble = mimo(partial(mlp, 4, in_channels=2, image_size=2), 3, (2, 2, 2)).eval()
    images = torch.randn(30, 2, 2, 2)
    found = conditional_variances(ensemble, images, fixed=2)
    assert found.shape == (3, 32 + 128)
    covariance = images.flatten(1).T.double().cov()
    for m, weight in enumerate(ensemble.network.fc1.weight.detach().double().chunk(3, dim=1)):
        assert torch.allclose(found[m, :32], (weight @ covariance @ weight.T).diagonal())


def test_of_a_convolution_by_hand():
    ensemble = mimo(partial(small_cnn, 4, in_channels=1, image_size=8), 2, (1, 8, 8)).eval()
    images = torch.randn(10, 1, 8, 8)
    found = conditional_variances(ensemble, images, fixed=1)
    assert found.shape == (2, 16 + 32 + 32)
    for m, weight in enumerate(ensemble.network.conv1.weight.detach().chunk(2, dim=1)):
        maps = torch.nn.functional.conv2d(images, weight, padding=1)
        assert torch.allclose(found[m, :16].float(), maps.var(0).mean((1, 2)), rtol=1e-4)


def test_a_network_that_reads_one_input_depends_on_it_alone():
    ensemble = mimo(partial(small_cnn, 4, in_channels=1, image_size=8), 2, (1, 8, 8)).eval()
    with torch.no_grad():
        ensemble.network.conv1.weight[:, 1] = 0
        ensemble.network.conv1.weight[0] = 0  # and a unit that reads none
    found = conditional_variances(ensemble, torch.randn(10, 1, 8, 8), fixed=2)
    assert (found[1] == 0).all() and found[0, 0] == 0 and (found[0, 1:16] > 0).all()
    assert shares(found)[:, 0].tolist() == [0, 0] and shares(found)[:, 1].tolist() == [1, 0]


def test_other_inputs_are_averaged_over():
    """After a ReLU the variance over one input depends on where the other is: the mean over its values is taken."""
    ensemble = mimo(partial(mlp, 4, in_channels=1, image_size=1), 2, (1, 1, 1)).eval()
    images = torch.randn(5, 1, 1, 1)
    found = conditional_variances(ensemble, images, fixed=400)
    network, expected = ensemble.network, []
    for m in range(2):
        each = []
        for other in images:
            inputs = torch.stack(
                [images, other.expand(5, -1, -1, -1)] if m == 0 else [other.expand(5, -1, -1, -1), images]
            )
            hidden = network.relu1(network.fc1(torch.cat(inputs.unbind(0), dim=1).flatten(1)))
            each.append(network.fc2(hidden).detach().var(0))
        expected.append(torch.stack(each).mean(0))
    assert torch.allclose(found[:, 32:].float().sum(1), torch.stack(expected).sum(1), rtol=0.1)


def test_only_mimo_has_inputs_to_tell_apart():
    with pytest.raises(UserError, match="Only method=mimo has an input for each subnetwork"):
        conditional_variances(naive_multihead(partial(mlp, 4), 2), torch.randn(2, 3, 32, 32))
