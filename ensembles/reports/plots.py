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
from ensembles.metrics.bins import BINS, Bins, equal_width
from ensembles.metrics.classification import confidence_and_correct
from ensembles.metrics.diversity import disagreement_by_class, disagreement_matrix
from ensembles.metrics.predictive import log_mean
from ensembles.reports import style
from ensembles.reports.history import Series, read

CLASSES_SHOWN = 10
ANNOTATED = 8  # more members than this and the matrix has no room for numbers
PANELS = {"loss": "loss", "acc": "accuracy (%)", "nll": "NLL (nats)", "ece": "ECE", "lr": "learning rate"}
LOOKS = {
    "train": (style.VERMILLION, "--", "training"),
    "val": (style.BLUE, "-", "validation"),
    "": (style.BLACK, "-", ""),
}


def draw(
    folder: str | Path,
    test: tuple[Tensor, Tensor],
    ood: Mapping[str, Tensor] | None = None,
    history: str | Path | None = None,
    class_names: Sequence[str] | None = None,
) -> list[Path]:
    """Write reliability.png, confidence.png, disagreement.png (M > 1) and curves.png (if there was training).

    Args:
        folder: where to write them; it exists.
        test: the test set's logits (M, N, K) and labels (N,).
        ood: for each out-of-distribution set its logits (M, N', K).
        history: the run's metrics.csv; None, a file that is not there or one without numbers means no curves.
        class_names: the K classes' names, for the classes that members disagree on.

    Returns:
        The files written.

    Raises:
        UserError: NaN or an infinity among the logits, or a folder that cannot be written to.
    """
    logits, labels = (tensor.cpu() for tensor in test)
    figures = {}
    with rc_context(style.RC):
        figures["reliability.png"] = reliability(logits, labels)
        figures["confidence.png"] = confidence(logits, {name: out.cpu() for name, out in (ood or {}).items()})
        if len(logits) > 1:
            figures["disagreement.png"] = disagreement(logits, labels, class_names)
        series = read(history) if history is not None and Path(history).exists() else {}
        if _panels(series):
            figures["curves.png"] = curves(series)
        for name, figure in figures.items():
            with replacing(Path(folder) / name) as draft:
                figure.savefig(draft)
    return [Path(folder) / name for name in figures]


def _fit(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"


def _curve(bins: Bins) -> tuple[ndarray, ndarray]:
    """Mean confidence and accuracy of the bins that hold examples."""
    held = bins.count > 0
    return tuple((total[held] / bins.count[held]).numpy() for total in (bins.confidence, bins.correct))


def reliability(logits: Tensor, labels: Tensor) -> Figure:
    """Accuracy against confidence in the bins of the ECE, the ensemble and all its members; below, images in a bin."""
    pool = equal_width(*confidence_and_correct(log_mean(logits), labels))
    figure = Figure(figsize=(4.2, 4.8))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=style.GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    edges = [i / BINS for i in range(BINS + 1)]

    if len(logits) > 1:
        each = [confidence_and_correct(log_mean(member[None]), labels) for member in logits]
        members = equal_width(*(torch.cat(parts) for parts in zip(*each, strict=True)))
        ece = sum(equal_width(*one).error.item() for one in each) / len(each)
        top.plot(*_curve(members), "s:", color=style.VERMILLION, label=f"members, mean ECE {ece:.3f}", clip_on=False)
        bottom.stairs(
            (members.count / len(logits)).numpy(), edges, color=style.VERMILLION, linestyle=":", linewidth=1.4
        )
    name = "ensemble" if len(logits) > 1 else "network"
    top.plot(*_curve(pool), "o-", color=style.BLUE, label=f"{name}, ECE {pool.error.item():.3f}", clip_on=False)
    bottom.stairs(pool.count.numpy(), edges, color=style.BLUE, fill=True, alpha=0.5)

    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    figure.legend(loc="outside upper center")
    bottom.set(yscale="log", xlabel="confidence", ylabel="images")
    bottom.set_ylim(bottom=0.5)  # a bin of one image is to be seen
    bottom.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    bottom.minorticks_off()
    return figure


def confidence(logits: Tensor, ood: Mapping[str, Tensor]) -> Figure:
    """How the ensemble's confidence is distributed on the test set and on each out-of-distribution set."""
    figure = Figure(figsize=(4.8, 3.2))
    axes = figure.subplots()

    def share(some: Tensor) -> tuple[ndarray, ndarray]:
        counts, edges = torch.histogram(log_mean(some).amax(-1).exp(), bins=25, range=(0.0, 1.0))
        return (100 * counts / counts.sum()).numpy(), edges.numpy()

    axes.stairs(*share(logits), color=style.SKY, fill=True, alpha=0.7, label="in distribution")
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
