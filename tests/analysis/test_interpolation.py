"""Accuracy on the line between two members."""

from functools import partial

import pytest
import torch

from ensembles.analysis.interpolation import along
from ensembles.analysis.weight_space import WeightSpace, networks, predictions
from ensembles.backbones import wrn
from ensembles.methods.mixture import mixture

SHAPE = (1, 8, 8)


@pytest.fixture
def ensemble():
    found = mixture(partial(wrn, 16, 1, 4, in_channels=1, image_size=8), M=3, input_shape=SHAPE)
    with torch.no_grad():
        for parameter in found.norms.parameters():
            parameter.add_(torch.rand_like(parameter))  # members' batch norms start alike
    return found


def test_between_two_mixtures_are_the_mixing_weights_between_theirs(ensemble):
    images, t = torch.randn(6, *SHAPE), 0.3
    between = WeightSpace(networks(ensemble)[:2], batch_statistics=True).at([1 - t, t])(images)
    with torch.no_grad():
        for bank in ensemble.banks:
            bank.mixing[2] = (1 - t) * bank.mixing[0] + t * bank.mixing[1]
        first, second, third = (dict(members.named_parameters()) for members in ensemble.norms.members)
        for key in third:
            third[key].copy_((1 - t) * first[key] + t * second[key])
    assert torch.allclose(between, ensemble.train()(images)[2], atol=1e-4)


def test_batch_norms_use_the_batch_and_leave_the_ensemble_alone(ensemble):
    images = torch.randn(6, *SHAPE)
    before = {key: value.clone() for key, value in ensemble.state_dict().items()}
    members = networks(ensemble)
    with_batch = WeightSpace(members, batch_statistics=True).at([0, 1, 0])
    first = with_batch(images)
    assert torch.equal(with_batch(images), first)  # the running statistics that a pass leaves are not used
    assert torch.allclose(first, members[1].train()(images), atol=1e-5)
    assert not torch.allclose(first, WeightSpace(members).at([0, 1, 0])(images), atol=1e-2)
    assert all(torch.equal(value, before[key]) for key, value in ensemble.state_dict().items())


def test_the_line_ends_at_the_members(ensemble):
    images, labels = torch.randn(20, *SHAPE), torch.arange(20) % 4
    found = along(ensemble, images, labels, points=3)
    assert found.shape == (3, 3)  # pairs 01, 02, 12
    own = [(predictions(network.train(), images) == labels).double().mean().item() for network in networks(ensemble)]
    assert found[:, 0].tolist() == pytest.approx([own[0], own[0], own[1]])
    assert found[:, 2].tolist() == pytest.approx([own[1], own[2], own[2]])
    assert torch.equal(along(ensemble, images, labels, points=3, pairs=1), found[:1])


def test_layers_that_share_one_weight_lie_between_too():
    ensemble = mixture(partial(wrn, 16, 1, 4, in_channels=1, image_size=8), M=2, budget=0.5, input_shape=SHAPE).eval()
    assert any(len(group) > 1 for group in ensemble.shared_layers)
    images = torch.randn(3, *SHAPE)
    for m in range(2):
        found = WeightSpace(networks(ensemble)).at([1 - m, m])(images)
        assert torch.allclose(found, ensemble(images)[m], atol=1e-5)
