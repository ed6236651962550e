"""What lies between networks in weight space: the line between two members, and the plane through three."""

from functools import partial

import pytest
import torch

from ensembles.analysis.weight_space import Plane, WeightSpace, along, measure, networks, predictions, vectors
from ensembles.backbones import small_cnn, wrn
from ensembles.errors import UserError
from ensembles.methods.deep_ensemble import deep_ensemble
from ensembles.methods.mimo import mimo
from ensembles.methods.mixture import mixture
from ensembles.methods.naive_multihead import naive_multihead

SHAPE = (1, 8, 8)


@pytest.fixture
def backbone():
    return partial(small_cnn, 4, in_channels=1, image_size=8)


@pytest.fixture
def images():
    return torch.randn(12, *SHAPE)


def test_lengths_on_the_plane_are_those_of_weight_space():
    points = torch.randn(3, 40, dtype=torch.float64)
    plane = Plane(points)
    assert torch.allclose(torch.cdist(plane.corners, plane.corners), torch.cdist(points, points))
    assert torch.allclose(plane.corners.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12)


def test_a_place_on_the_plane_is_a_sum_of_the_three_points():
    points = torch.randn(3, 40, dtype=torch.float64)
    plane = Plane(points)
    assert torch.allclose(plane.shares(plane.corners), torch.eye(3, dtype=torch.float64), atol=1e-12)
    shares = torch.tensor([[0.2, 0.5, 0.3], [-1.0, 0.5, 1.5]], dtype=torch.float64)
    assert torch.allclose(plane.shares(plane.project(shares @ points)), shares)


def test_the_projection_is_the_nearest_point_of_the_plane():
    points, away = torch.randn(3, 40, dtype=torch.float64), torch.randn(40, dtype=torch.float64)
    plane = Plane(points)
    nearest = plane.shares(plane.project(away)[None]) @ points
    assert torch.allclose(
        (points[1:] - points[0]) @ (away - nearest[0]), torch.zeros(2, dtype=torch.float64), atol=1e-9
    )


@pytest.mark.parametrize("build", [naive_multihead, deep_ensemble])
def test_at_the_corners_are_the_members(build, backbone, images):
    ensemble = build(backbone, 3, SHAPE).eval()
    members = networks(ensemble)
    plane, between = Plane(vectors(members)), WeightSpace(members)
    for m, shares in enumerate(plane.shares(plane.corners).tolist()):
        assert torch.allclose(between.at(shares)(images), ensemble(images)[m], atol=1e-5)
        assert torch.equal(between.at([float(k == m) for k in range(3)])(images), members[m](images))


def test_at_the_corners_of_mimo_are_its_subnetworks_with_nothing_at_the_other_inputs(backbone, images):
    ensemble = mimo(backbone, 3, SHAPE).eval()
    members = networks(ensemble)
    plane, between = Plane(vectors(members)), WeightSpace(members)
    for m, shares in enumerate(plane.shares(plane.corners).tolist()):
        inputs = torch.zeros(3, *images.shape)
        inputs[m] = images
        assert torch.allclose(between.at(shares)(images), ensemble.each(inputs)[m], atol=1e-5)


def test_only_what_is_a_members_own_differs_between_them(backbone):
    for build, own in ((naive_multihead, {"fc.weight", "fc.bias"}), (mimo, {"conv1.weight", "fc.weight", "fc.bias"})):
        first, second, _ = (network.state_dict() for network in networks(build(backbone, 3, SHAPE)))
        assert {key for key in first if not torch.equal(first[key], second[key])} == own


def test_what_is_measured_on_the_plane(backbone, images):
    ensemble = naive_multihead(backbone, 3, SHAPE).eval()
    labels = torch.arange(12) % 4
    found = measure(ensemble, images, labels, torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64))
    predicted = ensemble(images).argmax(-1)
    assert torch.allclose(found.at_members, (predicted == labels).double().mean(1))
    apart = [(predicted[a] != predicted[b]).double().mean().item() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.between_members.tolist() == pytest.approx(apart)
    # Heads on a common body: the network in the middle of the plane has the mean of the members' logits.
    middle = ensemble(images).mean(0).argmax(-1)
    assert found.accuracy[1, 1].item() == pytest.approx((middle == labels).double().mean().item())
    assert found.disagreement[:, 1, 1].tolist() == pytest.approx(
        [(middle != p).double().mean().item() for p in predicted]
    )
    # Rows of the grid go along the second axis: the last one is up, where its middle place is.
    up = torch.tensor([[0.0, found.line[2]]], dtype=torch.float64)
    logits = (found.plane.shares(up)[0].float()[:, None, None] * ensemble(images)).sum(0)
    assert found.accuracy[2, 1].item() == pytest.approx((logits.argmax(-1) == labels).double().mean().item())


def test_two_members_have_no_plane(backbone, images):
    with pytest.raises(UserError, match=r"set method\.M to 3 or more"):
        measure(naive_multihead(backbone, 2, SHAPE), images, torch.zeros(12), torch.zeros(1))


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
