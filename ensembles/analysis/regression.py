"""Bias and variance over training sets of MIMO on a synthetic regression (Havasi et al., 2021, Figure 2)."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensembles import build
from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.training_sets import OverSets, over_sets, resampled
from ensembles.data.synthetic_regression import SyntheticRegression, noisy
from ensembles.errors import UserError
from ensembles.predictor import load
from ensembles.reports import style
from ensembles.reports.regression_plots import band
from ensembles.rng import generator

TITLES = {"bias2": "squared bias", "variance": "variance", "error": "mean squared error"}
PARTS = tuple(TITLES)
BEYOND = 0.25  # of the interval's width, on each side of the example
DRAWS = 400  # of the noise at each test point
CLAIMED = {"bias2": 1, "variance": -1, "error": -1}  # where each goes with M
OF_MEMBERS = {"bias2": 1, "error": 1}  # and of a member alone


def figure2(lines: Sequence[FigureRow], example: int = 3, sets: int = 100, every: int = 50) -> Drawing:
    """Draw an example fit, and squared bias, variance and error over training sets, by epoch and by M.

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
    return Drawing(figure, _data(found), _findings(lines, found, data))


def _data_of(config: dict) -> SyntheticRegression:
    data = build.call(config["data"], batch_size=config["recipe"]["batch_size"], seed=config["seed"])
    data.setup()
    return data


def _fit(axes: Axes, line: FigureRow, data: SyntheticRegression) -> None:
    """Draw the members' and the ensemble's prediction beside the training points and the function without noise."""
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
        axes.plot(of.epochs, of.ensemble[:, part], label=f"M = {M}", **style.look(i))
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


def _findings(lines: Sequence[FigureRow], found: Mapping[int, OverSets], data: SyntheticRegression) -> list[str]:
    """Write the findings, in plain sentences; ± is one standard deviation over resampled training sets."""
    Ms = sorted(found)
    sets = len(found[Ms[0]].last)
    said = [
        f"The ensemble over {sets} training sets: {TITLES[part]} {_numbers(found, i)}." for i, part in enumerate(PARTS)
    ]
    for who, of in (("From", "ensemble"), ("A member, from", "members")):
        said += [f"{who} M = {Ms[0]} to M = {M}: {_changes(found[Ms[0]], found[M], of)}." for M in Ms[1:]]
    least = min(Ms, key=lambda M: found[M].ensemble[-1, 2])
    seconds = sum(float(of.seconds) for of in found.values())
    return [
        *said,
        f"The error is least at M = {least}.",
        f"Of every squared bias and error {noise(data):.3g} is noise of the test targets, which no network predicts.",
        f"A member alone: mean squared error {_numbers(found, 2, of='members')}, squared bias "
        f"{_numbers(found, 0, of='members')}.",
        "Mean squared error of the network of seed 0, among the others and in its own run by train.py, which differ by "
        f"rounding alone: {', '.join(_beside(line, found) for line in lines)}.",
        f"The {sets * len(Ms)} networks were trained together in {seconds:.0f} seconds.",
    ]


def noise(data: SyntheticRegression) -> float:
    """Find the mean squared deviation of the test targets from what is expected at their points: the least error."""
    x, targets = data.sets["test"].features, data.sets["test"].labels
    draws = data.noise * torch.randn(len(x), DRAWS, generator=generator("noise"))
    return (targets - noisy(x, draws).mean(1)).double().square().mean().item()


def _numbers(found: Mapping[int, OverSets], part: int, of: str = "ensemble") -> str:
    return ", ".join(f"{getattr(found[M], of)[-1, part]:#.3g} (M = {M})" for M in sorted(found))


def _changes(first: OverSets, other: OverSets, of: str) -> str:
    change = dict(zip(PARTS, getattr(other, of)[-1] - getattr(first, of)[-1], strict=True))
    deviation = (resampled(other, of) - resampled(first, of)).std(0)  # of the same sets, so what they share cancels
    sd = dict(zip(PARTS, deviation.tolist(), strict=True))
    return ", ".join(
        f"{TITLES[part]} {change[part]:+.2g} ± {sd[part]:.2g} ({_verdict(change[part] * sign, sd[part])})"
        for part, sign in (CLAIMED if of == "ensemble" else OF_MEMBERS).items()
    )


def _verdict(change: float, sd: float) -> str:
    if abs(change) < 2 * sd:
        return "within chance"
    return "as in the paper" if change > 0 else "against the paper"


def _beside(line: FigureRow, found: Mapping[int, OverSets]) -> str:
    M = line.runs[0].config["method"]["M"]
    together = ((found[M].last[0].astype(float).mean(0) - found[M].targets) ** 2).mean()
    return f"{together:#.4g} and {line.results[0]['test/mse']:#.4g} (M = {M})"
