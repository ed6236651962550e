"""MIMO on a synthetic regression (Havasi et al., 2021, Figure 2)."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensembles import build
from ensembles.analysis.drawing import Drawing, Line
from ensembles.analysis.regression_claims import claims
from ensembles.analysis.training_sets import PARTS, OverSets, over_sets, resampled
from ensembles.data.synthetic_regression import SyntheticRegression, noisy
from ensembles.errors import UserError
from ensembles.predictor import load
from ensembles.reports import style
from ensembles.reports.regression import band

TITLES = {"bias2": "squared bias", "variance": "variance", "error": "mean squared error"}
BEYOND = 0.25  # of the interval's width, on each side of the example


def figure2(lines: Sequence[Line], example: int = 3, sets: int = 100, every: int = 50) -> Drawing:
    """An example fit, and squared bias, variance and error over training sets, by epoch and by M.

    Args:
        lines: a run of each M, of whose configurations ``sets`` networks are trained at once.
        example: the M of the fit that is shown.
        sets: training sets.
        every: epochs between two looks.

    Raises:
        UserError: no line with the example's M.
    """
    chosen = [line for line in lines if line.runs[0].config["method"]["M"] == example]
    if not chosen:
        raise UserError(f"The example's run, M = {example}, is missing: run its row too.")
    data = _data_of(chosen[0].runs[0].config)
    found = {line.runs[0].config["method"]["M"]: over_sets(line.runs[0], sets, every) for line in lines}
    figure = Figure(figsize=(10.5, 4.6))
    panels = [["fit", *PARTS], ["fit", *(f"{part} by M" for part in PARTS)]]
    axes = figure.subplot_mosaic(panels, width_ratios=(4, 3, 3, 3))
    _fit(axes["fit"], chosen[0], data)
    for i, part in enumerate(PARTS):
        _by_epoch(axes[part], found, i)
        _by_members(axes[f"{part} by M"], found, i)
    axes[PARTS[0]].legend(ncols=2, fontsize=7)
    axes[f"{PARTS[0]} by M"].legend(fontsize=7)
    return Drawing(figure, _data(found), claims(lines, found, data))


def _data_of(config: dict) -> SyntheticRegression:
    data = build.call(config["data"], batch_size=config["recipe"]["batch_size"], seed=config["seed"])
    data.setup()
    return data


def _fit(axes: Axes, line: Line, data: SyntheticRegression) -> None:
    """The members' and the ensemble's prediction beside the training points and the function without noise."""
    low, high = data.interval
    beyond = BEYOND * (high - low)
    x = torch.linspace(low - beyond, high + beyond, 400)
    members = load(line.runs[0].last).predict(x, details=True).members
    axes.axvspan(low, high, color=style.GREY, alpha=0.12, linewidth=0, label="training interval")
    axes.plot(x, noisy(x), color=style.BLACK, linestyle="--", linewidth=1, label="target without noise")
    band(axes, x, members)
    train = data.sets["train"]
    axes.plot(train.features[:, 0], train.labels, "x", color=style.BLACK, label="training points", zorder=3)
    shown = torch.cat([train.labels, noisy(x)])
    axes.set(xlabel="x", ylabel="y", title=f"MIMO, M = {len(members)}")
    axes.set_ylim(shown.min() - 0.3, shown.max() + 0.3)
    axes.legend(fontsize=7, loc="lower right")


def _by_epoch(axes: Axes, found: dict[int, OverSets], part: int) -> None:
    for i, (M, of) in enumerate(sorted(found.items())):
        looks = dict(color=style.SERIES[i % len(style.SERIES)], linestyle=style.DASHES[i % len(style.DASHES)])
        axes.plot(of.epochs, of.ensemble[:, part], label=f"M = {M}", **looks)
    late = torch.cat([torch.from_numpy(of.ensemble[len(of.epochs) // 8 :, part]) for of in found.values()])
    room = 0.15 * (late.max() - late.min())
    axes.set_ylim((late.min() - room).item(), (late.max() + room).item())
    axes.set(xlabel="epoch", title=TITLES[PARTS[part]])


def _by_members(axes: Axes, found: dict[int, OverSets], part: int) -> None:
    Ms = sorted(found)
    deviations = [resampled(found[M])[:, part].std().item() for M in Ms]
    ensemble = [found[M].ensemble[-1, part] for M in Ms]
    axes.errorbar(Ms, ensemble, deviations, color=style.BLUE, marker="o", capsize=2, label="ensemble")
    members = [found[M].members[-1, part] for M in Ms]
    axes.plot(Ms, members, color=style.VERMILLION, linestyle="--", marker="s", label="members")
    axes.set_xticks(Ms)
    axes.set(xlabel="M")


def _data(found: dict[int, OverSets]) -> list[dict]:
    rows = []
    for M, of in sorted(found.items()):
        for i, epoch in enumerate(of.epochs.tolist()):
            for who, curve in (("ensemble", of.ensemble), ("members", of.members)):
                rows.append({"M": M, "epoch": epoch, "of": who, **dict(zip(PARTS, curve[i].tolist(), strict=True))})
    return rows
