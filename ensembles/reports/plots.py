"""The plots in a run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from torch import Tensor

from ensembles.files import replacing
from ensembles.metrics import Predicted
from ensembles.metrics.base import log_mean
from ensembles.metrics.diversity import disagreement_by_class, disagreement_matrix
from ensembles.reports import style
from ensembles.reports.history import Series, read
from ensembles.reports.reliability import before_and_after, reliability
from ensembles.reports.severity import severity

ALL = {f"{name}.png" for name in ("reliability", "confidence", "disagreement", "curves", "temperature", "severity")}
CLASSES_SHOWN = 10
ANNOTATED = 8  # more members than this and the matrix has no room for numbers
PANELS = {"loss": "loss", "acc": "accuracy (%)", "mse": "MSE", "nll": "NLL (nats)", "ece": "ECE", "lr": "learning rate"}
LOOKS = {
    "train": (style.VERMILLION, "--", "training"),
    "val": (style.BLUE, "-", "validation"),
    "": (style.BLACK, "-", ""),
}


def draw(
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
        series = read(history) if history is not None and Path(history).exists() else {}
        if _panels(series):
            figures["curves.png"] = curves(series)
        if "scaled/pool/temperature" in results:
            figures["temperature.png"] = before_and_after(logits, labels, results["scaled/pool/temperature"])
        if by_severity := severity(results):
            figures["severity.png"] = by_severity
        for name, figure in figures.items():
            with replacing(Path(folder) / name) as draft:
                figure.savefig(draft)
    for name in ALL - figures.keys():  # an earlier evaluation's
        (Path(folder) / name).unlink(missing_ok=True)
    return [Path(folder) / name for name in figures]


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


def _panels(series: Series) -> dict[str, dict[str, dict[int, float]]]:
    """Quantity -> split -> epoch -> value, of those worth a curve."""
    panels = {}
    for column, epochs in series.items():
        split, _, quantity = column.rpartition("/")
        if quantity in PANELS and (split in ("train", "val") or quantity == "lr") and epochs:
            panels.setdefault(quantity, {})[split] = epochs
    return {quantity: panels[quantity] for quantity in PANELS if quantity in panels}


def curves(series: Series) -> Figure:
    """Training over epochs: a panel for each quantity, a line for each split."""
    panels = _panels(series)
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(6.4, 0.3 + 2.1 * rows))
    grid = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (quantity, lines) in zip(grid, panels.items(), strict=False):
        for split, epochs in lines.items():
            values = [100 * value if quantity == "acc" else value for value in epochs.values()]
            color, dashes, label = LOOKS[split]
            marker = "o" if len(epochs) <= 15 else None  # one epoch makes no line
            axes.plot(list(epochs), values, color=color, linestyle=dashes, marker=marker, label=label)
        alone = [LOOKS[split][2] for split in lines] if len(lines) == 1 else []
        axes.set(xlabel="epoch", title=" ".join([*alone, PANELS[quantity]]).strip())
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        if len(lines) > 1:
            axes.legend()
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure
