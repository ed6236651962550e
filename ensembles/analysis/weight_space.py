"""What lies between networks in weight space: on the line between two members (Mixture, Figure 4), and on the plane
through three (MIMO, Figure 3)."""

import copy
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.trained import Trained
from ensembles.errors import UserError
from ensembles.methods.base import Ensemble
from ensembles.methods.mimo import MIMONetwork
from ensembles.reports import style

BATCH = 500  # images of a pass
MEMBERS = 3  # through which a plane goes
MARKERS = ("v", "^", "<")
MARGIN = 0.6  # of how far the members are from their middle, beyond the farthest of them


def networks(ensemble: Ensemble) -> list[nn.Module]:
    """Make the members networks that differ in what is a member's own; (B, *input_shape) -> (B, K).

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
        """Make the network whose numbers are the networks' times their shares, (B, *input_shape) -> (B, K).

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
    """Predict the classes (N,) of images (N, C, H, W), in passes of equal size; on the CPU."""
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
        """Find the coordinates (..., 2) of the plane's points that are nearest to weight vectors (..., P)."""
        return (points.double() - self._middle) @ self._axes.T

    def shares(self, places: Tensor) -> Tensor:
        """Find for places (N, 2) the shares (N, 3) of the three points whose sum is there; each sums to 1."""
        ones = torch.ones(len(places), 1, dtype=torch.float64)
        corners = torch.cat([self.corners, torch.ones(3, 1, dtype=torch.float64)], dim=1)
        return torch.cat([places.double(), ones], dim=1) @ torch.linalg.inv(corners)

    def reach(self) -> float:
        """Measure how far the farthest corner is from the middle."""
        return self.corners.norm(dim=1).max().item()


def vectors(networks: Sequence[nn.Module]) -> Tensor:
    """Write the networks' parameters as vectors, (networks, P), on the CPU."""
    return torch.stack([torch.cat([p.detach().flatten() for p in network.parameters()]) for network in networks]).cpu()


def along(ensemble: Ensemble, images: Tensor, labels: Tensor, points: int, pairs: int | None = None) -> Tensor:
    """Measure accuracy (pairs, points) from one member to another, with batch norms in training mode.

    Where members' weights are mixes of common templates, weights between theirs are those of the mixing weights
    between theirs.

    Args:
        images: (N, C, H, W), normalised, in random order, since batch norms see some hundreds at a time.
        points: on the line, its ends included.
        pairs: of members, the first so many; None for all.
    """
    members = networks(ensemble)
    found = []
    for a, b in list(combinations(range(ensemble.M), 2))[:pairs]:
        space = WeightSpace([members[a], members[b]], batch_statistics=True)
        line = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
        predicted = torch.stack([predictions(space.at([1 - t, t]), images) for t in line])
        found.append((predicted == labels).double().mean(1))
    return torch.stack(found)


def interpolation(
    lines: Sequence[FigureRow], points: int = 11, images: int = 1000, pairs: int | None = None
) -> Drawing:
    """Draw a curve for each line: the mean over pairs of members and over its runs, with the range as a band.

    Args:
        points: on the line between two members.
        images: of the test set.
        pairs: of members in each run; None for all.
    """
    figure = Figure(figsize=(5.2, 3.5))
    axes = figure.subplots()
    where = torch.linspace(0, 1, points)
    data, findings = [], []
    for i, line in enumerate(lines):
        each = [Trained(run) for run in line.runs]
        found = torch.cat([along(one.ensemble, *one.test(images), points, pairs) for one in each])
        mean = found.mean(0)
        axes.plot(where, 100 * mean, **style.look(i), marker="o", label=line.name)
        low, high = (100 * ends.values for ends in (found.min(0), found.max(0)))
        axes.fill_between(where, low, high, color=style.look(i)["color"], alpha=0.15, lw=0)
        for run, values in enumerate(found):
            data += [
                {"network": line.name, "pair": run, "position": t, "accuracy": value}
                for t, value in zip(where.tolist(), values.tolist(), strict=True)
            ]
        ends = (mean[0] + mean[-1]).item() / 2
        findings.append(
            f"{line.name}: {100 * ends:.1f} % at the members, {100 * mean.min():.1f} % at the lowest point between "
            f"two of them, a drop of {100 * (ends - mean.min().item()):.1f} points (mean of {len(found)} pairs)."
        )
    axes.set(xlabel="position between two members", ylabel="accuracy (%)")
    axes.legend()
    return Drawing(figure, data, findings)


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
    """Find the plane through the first three members.

    Raises:
        UserError: fewer than three members.
    """
    if ensemble.M < MEMBERS:
        raise UserError(f"A plane goes through three members, but there are {ensemble.M}: set method.M to 3 or more.")
    return Plane(vectors(networks(ensemble)[:MEMBERS]))


def measure(ensemble: Ensemble, images: Tensor, labels: Tensor, line: Tensor) -> Landscape:
    """Measure accuracy and disagreement with the first three members on a grid over the plane through them.

    Args:
        images: (N, C, H, W), normalised.
        line: (points,), the grid's coordinates along both axes.

    Raises:
        UserError: fewer than three members.
    """
    plane, space = plane_of(ensemble), WeightSpace(networks(ensemble)[:MEMBERS])

    def predict(shares: Tensor) -> Tensor:
        return torch.stack([predictions(space.at(each), images) for each in shares.tolist()])

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


def landscape(lines: Sequence[FigureRow], points: int = 25, images: int = 2000) -> Drawing:
    """Draw a row of panels for each line: accuracy, then disagreement with each of three members; of its first run.

    Each row has its own scale in weight space, as in the paper: heads alone are much nearer to one another.

    Args:
        points: of the grid along an axis.
        images: of the test set.
    """
    figure = Figure(figsize=(9.2, 2.1 * len(lines) + 0.9), layout="compressed")
    panels = figure.subplots(len(lines), 1 + MEMBERS, squeeze=False)
    every = [Trained(line.runs[0]) for line in lines]
    found = [measure(one.ensemble, *one.test(images), _grid(one, points)) for one in every]
    ways = [_trajectories(one, landscape.plane) for one, landscape in zip(every, found, strict=True)]
    best = [
        max(values.max().item() for values in each)
        for each in ([f.accuracy for f in found], [f.disagreement for f in found])
    ]
    for line, one, way, row in zip(lines, found, ways, panels, strict=True):
        shown = [_panel(row[0], one, one.accuracy, "viridis", best[0])]
        shown += [
            _panel(panel, one, values, "cividis", best[1])
            for panel, values in zip(row[1:], one.disagreement, strict=True)
        ]
        for panel in row:
            _marks(panel, one.plane, way)
        row[0].set_ylabel(f"{line.name}\nweight direction 2")
    for m, panel in enumerate(panels[0]):
        panel.set_title(f"disagreement with\nsubnetwork {m}" if m else "test accuracy")
    for panel in panels[-1]:
        panel.set_xlabel("weight direction 1")
    figure.colorbar(shown[0], ax=panels[:, 0], location="bottom")
    figure.colorbar(shown[1], ax=panels[:, 1:], location="bottom", shrink=0.4)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    data = [row for line, one in zip(lines, found, strict=True) for row in _rows(line.name, one)]
    return Drawing(figure, data, [_said(line.name, one) for line, one in zip(lines, found, strict=True)])


def _grid(trained: Trained, points: int) -> Tensor:
    reach = (1 + MARGIN) * plane_of(trained.ensemble).reach()
    return torch.linspace(-reach, reach, points, dtype=torch.float64)


def _trajectories(trained: Trained, plane: Plane) -> Tensor | None:
    """Find where the members were on the plane as they trained, (epochs, 3, 2), if epochs were kept."""
    if not trained.run.epochs.is_dir():
        return None
    along = [networks(trained.at(path))[:MEMBERS] for path in trained.epochs.values()]
    return torch.stack([plane.project(vectors(members)) for members in along])


def _panel(panel: Axes, found: Landscape, values: Tensor, colours: str, top: float) -> QuadMesh:
    panel.set_aspect("equal")
    panel.grid(False)
    return panel.pcolormesh(found.line, found.line, values, cmap=colours, vmin=0, vmax=top, rasterized=True)


def _marks(panel: Axes, plane: Plane, ways: Tensor | None) -> None:
    """Mark the members, their ways there, and the plane's point that is nearest to zero."""
    for m, place in enumerate(plane.corners.tolist()):
        if ways is not None:
            panel.plot(*ways[:, m].T, color="white", lw=0.8, ls=style.DASHES[m])
        panel.plot(*place, MARKERS[m], color=style.colour(m), mec="white", ms=7, label=f"subnetwork {m + 1}")
    panel.plot(
        *plane.project(plane.zero), "o", color="white", mec="black", ms=4, label="zero of weight space, projected"
    )


def _rows(name: str, found: Landscape) -> list[dict]:
    rows = []
    for j, y in enumerate(found.line.tolist()):
        for i, x in enumerate(found.line.tolist()):
            apart = {f"disagreement_{m + 1}": found.disagreement[m, j, i].item() for m in range(MEMBERS)}
            rows.append({"method": name, "x": x, "y": y, "accuracy": found.accuracy[j, i].item(), **apart})
    return rows


def _said(name: str, found: Landscape) -> str:
    own = ", ".join(f"{100 * value:.1f}" for value in found.at_members.tolist())
    best = found.accuracy.argmax().item()
    place = torch.stack([found.line[best % len(found.line)], found.line[best // len(found.line)]])
    shares = [f"{share:.1f}" for share in found.plane.shares(place[None])[0].tolist()]
    apart = torch.pdist(found.plane.corners).mean()
    return (
        f"{name}: the subnetworks' accuracy is {own} %, halfway between two of them {100 * found.halfway.mean():.1f} % "
        f"on average; two of them disagree on {100 * found.between_members.mean():.1f} % of the images and are "
        f"{apart:.2g} apart in weight space. The highest accuracy on the plane is {100 * found.accuracy.max():.1f} %, "
        f"at {', '.join(shares)} times the three."
    )
