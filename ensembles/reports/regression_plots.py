"""The plots of a regression."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ensembles.metrics import RegressionSummary
from ensembles.metrics.regression import mixture_sd
from ensembles.reports import style

SDS = 2  # half the width of the band
NAMED = 8  # more members than this have one entry in the legend


def fit(summary: RegressionSummary) -> Figure:
    """Draw the members' predictions and the ensemble's, with two standard deviations, over the one feature."""
    figure = Figure(figsize=(4.8, 3.4))
    axes = figure.subplots()
    names = [name for name in summary.sets if name == "test" or name.startswith("shift/")]
    x = torch.cat([summary.sets[name].inputs[:, 0] for name in names])
    order = x.argsort()
    moments = [summary.moments(name) for name in names]
    means = torch.cat([means for means, _ in moments], dim=1)[:, order]
    variances = None if moments[0][1] is None else torch.cat([v for _, v in moments], dim=1)[:, order]
    band(axes, x[order], means, variances)
    points = summary.sets.get("train", summary.sets["test"])
    what = "training points" if "train" in summary.sets else "test points"
    axes.plot(points.inputs[:, 0], points.labels, "x", color=style.BLACK, label=what, zorder=3)
    axes.set(xlabel="x", ylabel="y")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def band(axes: Axes, x: Tensor, means: Tensor, variances: Tensor | None = None) -> None:
    """Draw members (M, N) over ascending x (N,), their mean, and two standard deviations around it."""
    if len(means) > 1 or variances is not None:
        mean, sd = means.mean(0), mixture_sd(means, variances)
        what = f"± {SDS} sd" if variances is not None else f"± {SDS} sd of the members"
        axes.fill_between(x, mean - SDS * sd, mean + SDS * sd, color=style.SKY, alpha=0.35, linewidth=0, label=what)
    if len(means) > 1:
        for m, member in enumerate(means):
            label = f"member {m + 1}" if len(means) <= NAMED else "" if m else "members"
            axes.plot(x, member, **style.look(m), linewidth=0.9, label=label)
    axes.plot(x, means.mean(0), color=style.BLUE, linewidth=1.8, label="ensemble" if len(means) > 1 else "network")


def predicted(summary: RegressionSummary) -> Figure:
    """Draw the ensemble's prediction of each test point against the truth."""
    figure = Figure(figsize=(3.6, 3.4))
    axes = figure.subplots()
    means, _ = summary.moments("test")
    targets = summary.sets["test"].labels
    axes.plot(targets, means.mean(0), ".", color=style.BLUE, markersize=2, alpha=0.5)
    ends = [targets.min().item(), targets.max().item()]
    axes.plot(ends, ends, color=style.BLACK, linestyle="--", linewidth=1)
    axes.set(xlabel="y", ylabel="predicted y", title="test points")
    return figure
