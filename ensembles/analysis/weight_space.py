"""What lies between networks of one architecture in weight space, and the plane through three."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.methods.base import Ensemble
from ensembles.methods.mimo import MIMONetwork

BATCH = 500  # images of a pass


def networks(ensemble: Ensemble) -> list[nn.Module]:
    """The members as networks that differ in what is a member's own; (B, *input_shape) -> (B, K).

    A subnetwork of MIMO is the mapping from its input to its output (MIMO, section 3): its slice of the first layer,
    the body, and its last layer, with nothing at the other inputs. (With the same image at all inputs all subnetworks
    have one first layer, the sum of the slices.)
    """
    return [
        _subnetwork(ensemble, m) if isinstance(ensemble, MIMONetwork) else ensemble.member(m) for m in range(ensemble.M)
    ]


def _subnetwork(ensemble: MIMONetwork, m: int) -> nn.Module:
    network = ensemble.member(m)
    for name in ensemble.first:
        slices = ensemble.network.get_submodule(name).weight.detach().chunk(ensemble.M, dim=1)
        network.get_submodule(name).weight = nn.Parameter(slices[m].clone())
    return network


class WeightSpace:
    """Networks of one architecture, and all networks whose numbers are sums of theirs.

    Args:
        batch_statistics: whether batch norms take their statistics from the batch, since those that were accumulated
            in training say nothing in between (Mixture, section 5.3).
    """

    def __init__(self, networks: Sequence[nn.Module], batch_statistics: bool = False) -> None:
        self._states = [network.state_dict() for network in networks]
        self._network = copy.deepcopy(networks[0]).eval()
        for module in self._network.modules():
            if isinstance(module, _BatchNorm):
                module.train(batch_statistics)

    def at(self, shares: Sequence[float]) -> Callable[[Tensor], Tensor]:
        """The network whose numbers are the networks' times their shares, (B, *input_shape) -> (B, K).

        Args:
            shares: one for each network, with 1 as their sum; (1, 0, ...) is the first network itself.
        """
        state = {key: _sum([state[key] for state in self._states], shares) for key in self._states[0]}
        return lambda x: functional_call(self._network, state, (x,), tie_weights=False)  # each name has its own entry


def _sum(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0].clone()  # the number of batches that a batch norm has seen
    total = sum(share * tensor.double() for share, tensor in zip(shares, tensors, strict=True))
    return total.to(tensors[0].dtype)


@torch.inference_mode()
def predictions(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The classes (N,) that a network predicts for images (N, C, H, W), in passes of equal size; on the CPU."""
    parts = max(1, round(len(images) / BATCH))
    return torch.cat([network(part).argmax(-1).cpu() for part in images.tensor_split(parts)])


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
