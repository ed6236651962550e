"""Accuracy on the straight line between two members (Mixture, Figure 4)."""

from collections.abc import Sequence
from itertools import combinations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.trained import Trained
from ensembles.analysis.weight_space import WeightSpace, networks, predictions
from ensembles.methods.base import Ensemble
from ensembles.reports import style


def along(ensemble: Ensemble, images: Tensor, labels: Tensor, points: int, pairs: int | None = None) -> Tensor:
    """Accuracy (pairs, points) between two members, from the one to the other; batch norms in training mode.

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
    """A curve for each line: the mean over pairs of members and over its runs, with the range as a band.

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
        colour, dash = style.SERIES[i % len(style.SERIES)], style.DASHES[i % len(style.DASHES)]
        axes.plot(where, 100 * mean, ls=dash, marker="o", color=colour, label=line.name)
        axes.fill_between(where, 100 * found.min(0).values, 100 * found.max(0).values, color=colour, alpha=0.15, lw=0)
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
