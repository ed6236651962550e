"""Accuracy and disagreement on the plane through three members (MIMO, Figure 3)."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from torch import Tensor

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.trained import Trained
from ensembles.analysis.weight_space import Plane, WeightSpace, networks, predictions, vectors
from ensembles.errors import UserError
from ensembles.methods.base import Ensemble
from ensembles.reports import style

MEMBERS = 3
MARKERS = ("v", "^", "<")
MARGIN = 0.6  # of how far the members are from their middle, beyond the farthest of them


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
    """A row of panels for each line: accuracy, then disagreement with each of three members; of its first run.

    Each row has its own scale in weight space, as in the paper: heads alone are much nearer to one another.

    Args:
        points: of the grid along an axis.
        images: of the test set.
    """
    figure = Figure(figsize=(9.2, 2.1 * len(lines) + 0.9), layout="compressed")
    panels = figure.subplots(len(lines), 1 + MEMBERS, squeeze=False)
    every = [Trained(line.runs[0]) for line in lines]
    found = [measure(one.ensemble, *one.test(images), _grid(one, points)) for one in every]
    ways = [_ways(one, landscape.plane) for one, landscape in zip(every, found, strict=True)]
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


def _ways(trained: Trained, plane: Plane) -> Tensor | None:
    """Where the members were on the plane as they trained, (epochs, 3, 2), if epochs were kept."""
    if not trained.run.epochs.is_dir():
        return None
    along = [networks(trained.at(path))[:MEMBERS] for path in trained.epochs.values()]
    return torch.stack([plane.project(vectors(members)) for members in along])


def _panel(panel: Axes, found: Landscape, values: Tensor, colours: str, top: float) -> QuadMesh:
    panel.set_aspect("equal")
    panel.grid(False)
    return panel.pcolormesh(found.line, found.line, values, cmap=colours, vmin=0, vmax=top, rasterized=True)


def _marks(panel: Axes, plane: Plane, ways: Tensor | None) -> None:
    """The members, their ways there, and the plane's point that is nearest to zero."""
    for m, place in enumerate(plane.corners.tolist()):
        if ways is not None:
            panel.plot(*ways[:, m].T, color="white", lw=0.8, ls=style.DASHES[m])
        panel.plot(*place, MARKERS[m], color=style.SERIES[m], mec="white", ms=7, label=f"subnetwork {m + 1}")
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
