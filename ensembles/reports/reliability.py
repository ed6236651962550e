"""Reliability diagrams: accuracy against confidence in the bins of the ECE."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray
from torch import Tensor

from ensembles.metrics.base import log_mean
from ensembles.metrics.classification import BINS, Bins, equal_width, statistics
from ensembles.reports import style

EDGES = [i / BINS for i in range(BINS + 1)]


def reliability(logits: Tensor, labels: Tensor) -> Figure:
    """The ensemble and all its members; below, how many images are in a bin."""
    pool = _bins(log_mean(logits), labels)
    figure = Figure(figsize=(4.2, 4.8))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _diagonal(top)
    if len(logits) > 1:
        each = [statistics(log_mean(member[None]), labels)[:2] for member in logits]
        members = equal_width(*(torch.cat(parts) for parts in zip(*each, strict=True)))
        ece = sum(equal_width(*one).error.item() for one in each) / len(each)
        top.plot(*_curve(members), "s:", color=style.VERMILLION, label=f"members, mean ECE {ece:.3f}", clip_on=False)
        bottom.stairs(
            (members.count / len(logits)).numpy(), EDGES, color=style.VERMILLION, linestyle=":", linewidth=1.4
        )
    name = "ensemble" if len(logits) > 1 else "network"
    _pool(top, bottom, pool, f"{name}, ECE {pool.error.item():.3f}")
    top.set_ylabel("accuracy")
    bottom.set(xlabel="confidence", ylabel="images")
    figure.legend(loc="outside upper center")
    return figure


def before_and_after(logits: Tensor, labels: Tensor, temperature: float) -> Figure:
    """The ensemble's prediction as it is and at a temperature; below, how many images are in a bin."""
    log_p = log_mean(logits)
    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    for (top, bottom), shown, title in (
        (axes[:, 0], log_p, "as trained"),
        (axes[:, 1], log_mean(log_p[None], [temperature]), f"at temperature {temperature:.3g}"),
    ):
        bins = _bins(shown, labels)
        _diagonal(top)
        _pool(top, bottom, bins, "ensemble" if len(logits) > 1 else "network")
        top.set_title(f"{title}: ECE {bins.error.item():.3f}")
        bottom.set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images")
    figure.legend(handles=axes[0, 0].lines, loc="outside upper center", ncols=2)
    return figure


def _bins(log_p: Tensor, labels: Tensor) -> Bins:
    of = statistics(log_p, labels)
    return equal_width(of.confidence, of.correct)


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=style.GREY, linestyle="--", linewidth=1, label="perfectly calibrated")


def _pool(top: Axes, bottom: Axes, bins: Bins, label: str) -> None:
    top.plot(*_curve(bins), "o-", color=style.BLUE, label=label, clip_on=False)
    bottom.stairs(bins.count.numpy(), EDGES, color=style.BLUE, fill=True, alpha=0.5)
    top.set(xlim=(0, 1), ylim=(0, 1))
    bottom.set(yscale="log")
    bottom.set_ylim(bottom=0.5)  # a bin of one image is to be seen
    bottom.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    bottom.minorticks_off()


def _curve(bins: Bins) -> tuple[ndarray, ndarray]:
    """Mean confidence and accuracy of the bins that hold examples."""
    held = bins.count > 0
    return tuple((total[held] / bins.count[held]).numpy() for total in (bins.confidence, bins.correct))
