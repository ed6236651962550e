"""The plots in a run's folder, of whatever its results were reduced from."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from statistics import fmean

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from torch import Tensor

from ensembles.files import replacing
from ensembles.metrics import Predicted, RegressionSummary, Summary
from ensembles.metrics.base import log_mean
from ensembles.metrics.classification import BINS, Bins, equal_width, statistics
from ensembles.metrics.diversity import disagreement_by_class, disagreement_matrix
from ensembles.reports import style
from ensembles.reports.regression_plots import fit, predicted
from ensembles.reports.schema import quantity

ALL = {f"{name}.png" for name in ("reliability", "confidence", "disagreement", "curves", "temperature", "severity")}
CLASSES_SHOWN = 10
ANNOTATED = 8  # more members than this and the matrix has no room for numbers
PANELS = ("loss", "acc", "mse", "nll", "ece", "lr")
LOOKS = {
    "train": (style.VERMILLION, "--", "training"),
    "val": (style.BLUE, "-", "validation"),
    "": (style.BLACK, "-", ""),
}

Series = dict[str, dict[int, float]]  # column -> epoch (from 1) -> mean of the values logged in it
EDGES = [i / BINS for i in range(BINS + 1)]  # of the reliability diagram
FAMILIES = {
    "noise": (style.VERMILLION, "-", ("gaussian_noise", "shot_noise", "impulse_noise")),
    "blur": (style.BLUE, "--", ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")),
    "weather": (style.GREEN, "-.", ("snow", "frost", "fog", "brightness")),
    "digital": (style.ORANGE, ":", ("contrast", "elastic_transform", "pixelate", "jpeg_compression")),
}
TYPE_LOOKS = {type: (color, dashes) for color, dashes, types in FAMILIES.values() for type in types}

BySeverity = dict[str, dict[int, float]]  # type -> severity -> value


@singledispatch
def save_plots(summary: Summary, folder: Path, results: Mapping, history: Path, class_names: Sequence[str]) -> None:
    """Write the plots of a run.

    Args:
        results: the run's flat results.
        history: the run's metrics.csv, where there is one.

    Raises:
        UserError: a folder that cannot be written to.
    """
    ood = {name: -scores["max_probability"] for name, scores in summary.ood_scores.items() if name != "test"}
    ood = {name.removeprefix("ood/"): sure for name, sure in ood.items()}
    save_classification_plots(folder, results, summary.test, ood, history=history, class_names=class_names)


@save_plots.register
def _(summary: RegressionSummary, folder: Path, results: Mapping, history: Path, class_names: Sequence[str]) -> None:
    with rc_context(style.RC):
        figures = {"predicted.png": predicted(summary)}
        if summary.sets["test"].inputs is not None and summary.sets["test"].inputs.shape[1] == 1:
            figures["fit.png"] = fit(summary)
        _save(folder, figures | _followed(history))


def _save(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    for name, figure in figures.items():
        with replacing(folder / name) as draft:
            figure.savefig(draft)
    return [folder / name for name in figures]


def _followed(history: str | Path | None) -> dict[str, Figure]:
    """The curves of training, if there is something to show."""
    series = read_history(history) if history is not None and Path(history).exists() else {}
    return {"curves.png": curves(series)} if _panels(series) else {}


def save_classification_plots(
    folder: str | Path,
    results: Mapping[str, float | list[float]],
    test: Predicted,
    ood: Mapping[str, Tensor] | None = None,
    history: str | Path | None = None,
    class_names: Sequence[str] | None = None,
) -> list[Path]:
    """Write reliability.png, confidence.png, and where there is what they show disagreement.png (members), curves.png
    (training), severity.png (corruptions) and temperature.png (temperature scaling).

    Args:
        folder: where to write them; it exists.
        results: the run's flat results.
        test: the test set's predictions.
        ood: for each out-of-distribution set the ensemble's confidence in each example, (N,).
        history: the run's metrics.csv; None, a file that is not there or one without numbers means no curves.
        class_names: the K classes' names, for the classes that members disagree on.

    Returns:
        The files written.

    Raises:
        UserError: NaN or an infinity among the logits, or a folder that cannot be written to.
    """
    logits, labels = (tensor.cpu() for tensor in test[:2])
    figures = {}
    with rc_context(style.RC):
        figures["reliability.png"] = reliability(logits, labels)
        figures["confidence.png"] = confidence(logits, {name: sure.cpu() for name, sure in (ood or {}).items()})
        if len(logits) > 1:
            figures["disagreement.png"] = disagreement(logits, labels, class_names)
        figures |= _followed(history)
        if "scaled/pool/temperature" in results:
            figures["temperature.png"] = before_and_after(logits, labels, results["scaled/pool/temperature"])
        if shown := severity(results):
            figures["severity.png"] = shown
        written = _save(Path(folder), figures)
    for name in ALL - figures.keys():  # an earlier evaluation's
        (Path(folder) / name).unlink(missing_ok=True)
    return written


def _fit(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"


def confidence(logits: Tensor, ood: Mapping[str, Tensor]) -> Figure:
    """How the ensemble's confidence is distributed on the test set and on each out-of-distribution set."""
    figure = Figure(figsize=(4.8, 3.2))
    axes = figure.subplots()

    def share(sure: Tensor) -> tuple[ndarray, ndarray]:
        counts, edges = torch.histogram(sure.clamp(max=1), bins=25, range=(0.0, 1.0))
        return (100 * counts / counts.sum()).numpy(), edges.numpy()

    axes.stairs(*share(log_mean(logits).amax(-1).exp()), color=style.SKY, fill=True, alpha=0.7, label="in distribution")
    for i, (name, out) in enumerate(ood.items()):
        color, dashes = style.SERIES[i % len(style.SERIES)], style.DASHES[i % len(style.DASHES)]
        axes.stairs(*share(out), color=color, linestyle=dashes, linewidth=1.6, label=f"out: {_fit(name)}")
    axes.set(xlim=(0, 1), xlabel="confidence (maximum probability)", ylabel="images (%)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def disagreement(logits: Tensor, labels: Tensor, class_names: Sequence[str] | None) -> Figure:
    """On how many images two members differ, and on which classes they differ most."""
    matrix = 100 * disagreement_matrix(logits)
    members = len(matrix)
    figure = Figure(figsize=(7.2, 3.2))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    shown = matrix.masked_fill(torch.eye(members, dtype=torch.bool), torch.nan)
    image = left.imshow(shown.numpy(), cmap="Blues", vmin=0, vmax=max(matrix.max().item(), 1))
    if members <= ANNOTATED:
        for m in range(members):
            for n in range(members):
                if m != n:
                    dark = matrix[m, n] > matrix.max() / 2
                    left.text(n, m, f"{matrix[m, n]:.1f}", ha="center", va="center", color="white" if dark else "black")
    ticks = range(members) if members <= ANNOTATED else range(0, members, -(-members // ANNOTATED))
    left.set_xticks(ticks, [m + 1 for m in ticks])
    left.set_yticks(ticks, [m + 1 for m in ticks])
    left.grid(False)
    left.set(xlabel="member", ylabel="member", title="pairs disagree on (% of images)")
    figure.colorbar(image, ax=left, shrink=0.8)

    share = 100 * disagreement_by_class(logits, labels).nan_to_num(-1)
    top = share.argsort(descending=True, stable=True)[:CLASSES_SHOWN]
    top = top[share[top] >= 0].flip(0)
    right.barh(range(len(top)), share[top].tolist(), height=0.7, color=style.BLUE)
    right.set_yticks(range(len(top)), [_fit(str(class_names[k])) if class_names else k for k in top.tolist()])
    middle, half = (len(top) - 1) / 2, max(len(top), 5) / 2  # room for five, lest two bars look like walls
    right.set_ylim(middle - half, middle + half)
    right.grid(False, axis="y")
    most = "" if len(top) == logits.shape[-1] else f", the {len(top)} highest"
    right.set_xlim(0, max(1.05 * share.max().item(), 1))
    right.set(xlabel="images (%)", ylabel="class", title=f"the same by class{most}")
    return figure


def read_history(path: str | Path) -> Series:
    """Read a CSV with an ``epoch`` column (from 0); empty cells, words and numbers that are not finite are left out."""
    values = defaultdict(lambda: defaultdict(list))
    with Path(path).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            epoch = _number(row.pop("epoch", None))
            for column, cell in row.items():
                value = _number(cell)
                if epoch is not None and value is not None:
                    values[column][int(epoch) + 1].append(value)
    return {
        column: {epoch: sum(found) / len(found) for epoch, found in sorted(epochs.items())}
        for column, epochs in values.items()
    }


def _number(cell: object) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _panels(series: Series) -> dict[str, dict[str, dict[int, float]]]:
    """Quantity -> split -> epoch -> value, of those worth a curve."""
    panels = {}
    for column, epochs in series.items():
        split, _, metric = column.rpartition("/")
        if metric in PANELS and (split in ("train", "val") or metric == "lr") and epochs:
            panels.setdefault(metric, {})[split] = epochs
    return {metric: panels[metric] for metric in PANELS if metric in panels}


def curves(series: Series) -> Figure:
    """Training over epochs: a panel for each quantity, a line for each split."""
    panels = _panels(series)
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(6.4, 0.3 + 2.1 * rows))
    grid = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (metric, lines) in zip(grid, panels.items(), strict=False):
        for split, epochs in lines.items():
            values = [100 * value if metric == "acc" else value for value in epochs.values()]
            color, dashes, label = LOOKS[split]
            marker = "o" if len(epochs) <= 15 else None  # one epoch makes no line
            axes.plot(list(epochs), values, color=color, linestyle=dashes, marker=marker, label=label)
        alone = [LOOKS[split][2] for split in lines] if len(lines) == 1 else []
        axes.set(xlabel="epoch", title=" ".join([*alone, quantity(metric).axis]).strip())
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        if len(lines) > 1:
            axes.legend()
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


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


def by_severity(results: Mapping[str, float], metric: str) -> BySeverity:
    """The metric of each standard type at each severity that the results have."""
    found: BySeverity = defaultdict(dict)
    for key, value in results.items():
        parts = key.split("/")
        if len(parts) == 4 and parts[0] == "corrupted" and parts[1] in TYPE_LOOKS and parts[3] == metric:
            found[parts[1]][int(parts[2])] = value
    return {type: dict(sorted(values.items())) for type, values in found.items()}


def severity(results: Mapping[str, float]) -> Figure | None:
    """Accuracy and ECE against severity, 0 being the test set: each standard type, and their mean.

    None where the results have no standard type of corruption.
    """
    if not by_severity(results, "acc"):
        return None
    figure = Figure(figsize=(7.2, 3.2))
    for axes, metric in zip(figure.subplots(1, 2), ("acc", "ece"), strict=True):
        _severity_panel(axes, by_severity(results, metric), results[f"test/{metric}"], quantity(metric).scale)
        axes.set(xlabel="severity", ylabel=quantity(metric).axis)
        axes.set_ylim(bottom=0)
    shown = [family for family in FAMILIES if set(FAMILIES[family][2]) & by_severity(results, "acc").keys()]
    handles = [Line2D([], [], color=color, linestyle=dashes) for color, dashes, _ in (FAMILIES[f] for f in shown)]
    mean = Line2D([], [], color=style.BLACK, marker="o", linewidth=2)
    figure.legend([mean, *handles], ["mean over types", *shown], loc="outside upper center", ncols=5)
    return figure


def _severity_panel(axes: Axes, types: BySeverity, clean: float, scale: float) -> None:
    severities = sorted({severity for values in types.values() for severity in values})
    for type, values in types.items():
        color, dashes = TYPE_LOOKS[type]
        points = {0: clean} | values
        axes.plot(list(points), [scale * v for v in points.values()], color=color, linestyle=dashes, linewidth=0.9)
    mean = [clean, *(fmean(values[s] for values in types.values() if s in values) for s in severities)]
    axes.plot([0, *severities], [scale * v for v in mean], "o-", color=style.BLACK, linewidth=2, zorder=3)
    axes.set_xticks([0, *severities], ["test set", *map(str, severities)])
