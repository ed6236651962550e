"""The plane through three points of a weight space."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Plane:
    """The plane through three weight vectors, with lengths as in weight space and the middle of the three as zero.

    Attributes:
        corners: (3, 2), where the three lie.
        zero: (P,), the weight space's own.
    """

    def __init__(self, points: Tensor) -> None:
        points = points.double()
        self.zero = torch.zeros_like(points[0])
        self._middle = points.mean(0)
        sides = points[1:] - points[0]
        self._axes = torch.linalg.qr(sides.T).Q.T
        self._axes *= (self._axes * sides).sum(1, keepdim=True).sign()
        self.corners = self.project(points)

    def project(self, points: Tensor) -> Tensor:
        """Coordinates (..., 2) of the plane's points that are nearest to weight vectors (..., P)."""
        return (points.double() - self._middle) @ self._axes.T

    def shares(self, places: Tensor) -> Tensor:
        """For places (N, 2) the shares (N, 3) of the three points whose sum is there; each sums to 1."""
        ones = torch.ones(len(places), 1, dtype=torch.float64)
        corners = torch.cat([self.corners, torch.ones(3, 1, dtype=torch.float64)], dim=1)
        return torch.cat([places.double(), ones], dim=1) @ torch.linalg.inv(corners)

    def reach(self) -> float:
        """How far the farthest corner is from the middle."""
        return self.corners.norm(dim=1).max().item()


def vectors(networks: Sequence[nn.Module]) -> Tensor:
    """The networks' parameters as vectors, (networks, P), on the CPU."""
    return torch.stack([torch.cat([p.detach().flatten() for p in network.parameters()]) for network in networks]).cpu()
