"""What is measured on the plane through three members: accuracy, and disagreement with each (MIMO, section 3.1)."""

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from ensembles.analysis.between import Between, networks, predictions
from ensembles.analysis.plane import Plane, vectors
from ensembles.errors import UserError
from ensembles.methods.base import Ensemble

MEMBERS = 3


class Landscape(NamedTuple):
    """What is measured on the plane.

    Attributes:
        line: (points,), coordinates along both axes.
        accuracy: (points, points), rows along the second axis.
        disagreement: (3, points, points), with each member.
        halfway: (pairs,), accuracy halfway between two members.
        at_members: (3,), the members' accuracy.
        between_members: (pairs,), share of images on which two members disagree.
    """

    plane: Plane
    line: Tensor
    accuracy: Tensor
    disagreement: Tensor
    halfway: Tensor
    at_members: Tensor
    between_members: Tensor


def plane_of(ensemble: Ensemble) -> Plane:
    """The plane through the first three members.

    Raises:
        UserError: fewer than three members.
    """
    if ensemble.M < MEMBERS:
        raise UserError(f"A plane goes through three members, but there are {ensemble.M}: set method.M to 3 or more.")
    return Plane(vectors(networks(ensemble)[:MEMBERS]))


def measure(ensemble: Ensemble, images: Tensor, labels: Tensor, line: Tensor) -> Landscape:
    """Accuracy and disagreement with the first three members on a grid over the plane through them.

    Args:
        images: (N, C, H, W), normalised.
        line: (points,), the grid's coordinates along both axes.

    Raises:
        UserError: fewer than three members.
    """
    plane, between = plane_of(ensemble), Between(networks(ensemble)[:MEMBERS])

    def predict(shares: Tensor) -> Tensor:
        return torch.stack([predictions(between.at(each), images) for each in shares.tolist()])

    places = torch.cartesian_prod(line, line).flip(1)  # the first axis runs fastest
    found, own = predict(plane.shares(places)), predict(torch.eye(MEMBERS))
    pairs = list(combinations(range(MEMBERS), 2))
    halfway = predict(torch.tensor([[0.5 * (m in pair) for m in range(MEMBERS)] for pair in pairs]))
    square = (len(line), len(line))
    return Landscape(
        plane,
        line,
        _accuracy(found, labels).view(square),
        (found[None] != own[:, None]).double().mean(-1).view(MEMBERS, *square),
        _accuracy(halfway, labels),
        _accuracy(own, labels),
        torch.stack([(own[a] != own[b]).double().mean() for a, b in pairs]),
    )


def _accuracy(predicted: Tensor, labels: Tensor) -> Tensor:
    return (predicted == labels).double().mean(-1)
