"""The plots in a run's folder, of whatever its results were reduced from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from torch import Tensor

from ensembles.files import replacing
from ensembles.metrics import RegressionSummary, Summary
from ensembles.metrics.base import chunks, log_mean
from ensembles.metrics.classification import BINS, Bins, Statistics, aurc, confusion, equal_width, ranked, statistics
from ensembles.metrics.diversity import disagreement_by_class, disagreement_matrix
from ensembles.reports import style
from ensembles.reports.curves import curves, read_history
from ensembles.reports.regression_plots import fit, predicted
from ensembles.reports.schema import quantity
from ensembles.reports.severity import severity

NAMES = (
    *("curves", "reliability", "temperature", "confidence", "ood_roc", "risk_coverage", "severity", "confusion"),
    *("members", "disagreement"),
)
CLASSES_SHOWN = 10
MATRIX = 20  # more classes than this and their matrix of confusions cannot be read
ANNOTATED = 12  # more rows than this and a matrix has no room for numbers
FEW = 20  # a bin of fewer images is pale
STARTS = 8  # sets of m members that are averaged over
POINTS = 400  # of a curve over images
EDGES = [i / BINS for i in range(BINS + 1)]  # of the reliability diagram


def save_plots(
    summary: Summary | RegressionSummary,
    folder: Path,
    results: Mapping[str, float | list[float]],
    history: Path,
    class_names: Sequence[str] | None = None,
    summed: int = 1,
) -> list[Path]:
    """Write the plots of a run for which there is what they show, as PNG; those of an earlier evaluation go.

    Args:
        folder: where to write them; it exists.
        results: the run's flat results.
        history: the run's metrics.csv; where it is not there or has no numbers there are no curves.
        class_names: the K classes' names.
        summed: over how many members the training's loss is the sum.

    Returns:
        The files written.

    Raises:
        UserError: NaN or an infinity among the logits, or a folder that cannot be written to.
    """
    written = []
    with rc_context(style.RC):
        figures = {"curves": curves(read_history(history), summed) if history.exists() else None}
        if isinstance(summary, RegressionSummary):
            figures["predicted"] = predicted(summary)
            if summary.sets["test"].features is not None and summary.sets["test"].features.shape[1] == 1:
                figures["fit"] = fit(summary)
        else:
            figures |= _classification_figures(summary, results, class_names)
        for name, figure in figures.items():
            if figure is not None:
                written.append(folder / f"{name}.png")
                with replacing(written[-1]) as draft:
                    figure.savefig(draft)
    for name in {*NAMES} - {path.stem for path in written}:
        (folder / f"{name}.png").unlink(missing_ok=True)
    return written


def _classification_figures(
    summary: Summary, results: Mapping, class_names: Sequence[str] | None
) -> dict[str, Figure | None]:
    logits, labels = (tensor.cpu() for tensor in summary.test[:2])
    ood = {name: -scores["max_probability"].cpu() for name, scores in summary.ood_scores.items() if name != "test"}
    ood = {name.removeprefix("ood/"): sure for name, sure in ood.items()}
    log_p = log_mean(logits)
    pool = statistics(log_p, labels)
    members = [statistics(log_mean(member[None]), labels) for member in logits] if len(logits) > 1 else []
    figures = {
        "reliability": reliability(pool, members),
        "confidence": confidence(pool.confidence, ood),
        "ood_roc": ood_roc(pool.confidence, ood) if ood else None,
        "risk_coverage": risk_coverage(pool, members),
        "severity": severity(results),
        "confusion": confusions(confusion(log_p, labels), class_names),
    }
    if members:
        figures["members"] = number_of_members(*by_number(logits, labels))
        figures["disagreement"] = disagreement(logits, labels, class_names)
    if "scaled/pool/temperature" in results:
        figures["temperature"] = before_and_after(log_p, labels, results["scaled/pool/temperature"])
    return figures


def _fit(name: object, longest: int = 20) -> str:
    return str(name) if len(str(name)) <= longest else f"{str(name)[: longest - 1]}…"


def confidence(inside: Tensor, ood: Mapping[str, Tensor]) -> Figure:
    """Draw how the ensemble's confidence (N,) is distributed on the test set and on each out-of-distribution set."""
    figure = Figure(figsize=(style.WIDTH, 3.2))
    axes = figure.subplots()

    def share(sure: Tensor) -> tuple[ndarray, ndarray]:
        counts, edges = torch.histogram(sure.double().clamp(max=1), bins=25, range=(0.0, 1.0))
        return (100 * counts / counts.sum()).numpy(), edges.numpy()

    axes.stairs(*share(inside), color=style.SKY, fill=True, alpha=0.7, label="in distribution")
    for i, (name, out) in enumerate(ood.items()):
        axes.stairs(*share(out), **style.look(i), linewidth=1.6, label=f"out: {_fit(name)}")
    axes.set(xlim=(0, 1), xlabel="confidence (maximum probability)", ylabel="images (%)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def ood_roc(inside: Tensor, ood: Mapping[str, Tensor]) -> Figure:
    """Draw how many images of each out-of-distribution set are found, against how many test images are taken for such.

    Both by the ensemble's confidence, (N,): the unsure ones are taken for out-of-distribution.
    """
    figure = Figure(figsize=(style.WIDTH, 3.8))
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=style.GREY, linestyle="--", linewidth=1)
    for i, (name, out) in enumerate(ood.items()):
        taken, found = roc(inside, out)
        area = torch.trapezoid(found, taken).item()
        label = f"{_fit(name)}, AUROC {100 * area:.1f} %"
        axes.plot(*(100 * _thinned(x).numpy() for x in (taken, found)), **style.look(i), label=label)
    axes.set(
        xlim=(0, 100),
        ylim=(0, 100),
        xlabel="false positives, of test images (%)",
        ylabel="true positives, of OOD images (%)",
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=1 if len(ood) < 3 else 2)
    return figure


def roc(inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
    """Find the shares of test and of out-of-distribution examples that are less sure than each threshold."""
    sure, is_out = torch.cat([inside, outside]).sort()
    is_out = is_out >= len(inside)
    last = torch.cat([sure[1:] != sure[:-1], torch.tensor([True])])  # equal confidences are taken together
    shares = ((~is_out).double().cumsum(0)[last] / len(inside), is_out.double().cumsum(0)[last] / len(outside))
    return tuple(torch.cat([torch.zeros(1, dtype=torch.float64), share]) for share in shares)


def _thinned(values: Tensor) -> Tensor:
    """Pick some of the values, the first and the last among them."""
    return values[torch.linspace(0, len(values) - 1, min(len(values), POINTS)).long()]


def risk_coverage(pool: Statistics, members: Sequence[Statistics]) -> Figure:
    """Draw the error rate among the surest images, against how many are answered; a member's is the members' mean."""
    figure = Figure(figsize=(style.WIDTH, 3.2))
    axes = figure.subplots()

    def draw(some: Sequence[Statistics], name: str, **look) -> None:
        errors = torch.stack([1 - ranked(of.confidence, of.correct)[1].double() for of in some]).mean(0)
        answered = torch.arange(1, len(errors) + 1)
        area = sum(aurc(of).item() for of in some) / len(some)
        x, y = (_thinned(100 * share).numpy() for share in (answered / len(errors), errors.cumsum(0) / answered))
        axes.plot(x, y, label=f"{name}, AURC {area:.4f}", **look)

    if members:
        draw(members, "members' mean", color=style.VERMILLION, linestyle=":")
    draw([pool], "ensemble" if members else "network", color=style.BLUE)
    axes.set(xlim=(0, 100), xlabel="images answered, the surest first (%)", ylabel="errors among them (%)")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center")
    return figure


def confusions(counts: Tensor, class_names: Sequence[str] | None) -> Figure:
    """Draw how often each class is taken for another, from counts (K, K); of many classes the most frequent ones."""
    classes = len(counts)
    names = [_fit(name, 14) for name in class_names or range(classes)]
    wrong = counts.clone().fill_diagonal_(0)
    if classes > MATRIX:
        return _most_frequent(wrong, names)
    figure = Figure(figsize=(style.WIDTH, 4.2))
    axes = figure.subplots()
    axes.imshow(wrong.numpy(), cmap="Oranges", vmin=0, vmax=max(wrong.max().item(), 1))
    for true in range(classes if classes <= ANNOTATED else 0):
        for taken in range(classes):
            if counts[true, taken]:
                dark = wrong[true, taken] > 0.6 * wrong.max()
                color = style.GREY if true == taken else "white" if dark else style.BLACK
                axes.text(taken, true, f"{counts[true, taken]}", ha="center", va="center", fontsize=8, color=color)
    long = max(map(len, names)) > 3
    axes.set_xticks(range(classes), names, rotation=90 if long else 0)
    axes.set_yticks(range(classes), names)
    axes.grid(False)
    axes.set(xlabel="predicted class", ylabel="true class", title=f"{wrong.sum()} errors of {counts.sum()} images")
    return figure


def _most_frequent(wrong: Tensor, names: Sequence[str]) -> Figure:
    order = wrong.flatten().argsort(descending=True, stable=True)[:CLASSES_SHOWN].flip(0)
    pairs = [divmod(i, len(names)) for i in order.tolist() if wrong.flatten()[i]]
    figure = Figure(figsize=(style.WIDTH, 3.2))
    axes = figure.subplots()
    axes.barh(range(len(pairs)), [wrong[pair].item() for pair in pairs], height=0.7, color=style.BLUE)
    axes.set_yticks(range(len(pairs)), [f"{names[true]} → {names[taken]}" for true, taken in pairs])
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="images", title="most frequent confusions: true → predicted")
    return figure


def by_number(logits: Tensor, labels: Tensor) -> tuple[list[float], list[float]]:
    """Compute accuracy and NLL of the mean of m members' softmax, m = 1..M: (M, N, K), (N,) -> M numbers each.

    Averaged over sets of m that follow one another in a circle: over all M of them, or `STARTS`.
    """
    M, N, _ = logits.shape
    correct, log_likelihood = torch.zeros(2, M, dtype=torch.float64)
    starts, done = range(0, M, -(-M // STARTS)), 0
    sizes = torch.arange(1, M + 1, dtype=torch.float64).log()[:, None, None]
    for part in chunks(logits):
        y = labels[done : done + part.shape[1]]
        done += len(y)
        log_p = part.log_softmax(-1)
        for start in starts:
            mean = log_p.roll(-start, 0).logcumsumexp(0) - sizes
            correct += (mean.argmax(-1) == y).sum(1)
            log_likelihood += mean.gather(-1, y.expand(M, -1)[..., None]).sum((1, 2))
    each = N * len(starts)
    return (correct / each).tolist(), (-log_likelihood / each).tolist()


def number_of_members(accuracy: Sequence[float], nll: Sequence[float]) -> Figure:
    """Draw what more members bring, from `by_number`."""
    figure = Figure(figsize=(style.WIDTH, 4))
    panels = figure.subplots(2, 1, sharex=True)
    for axes, metric, values in zip(panels, ("acc", "nll"), (accuracy, nll), strict=True):
        of = quantity(metric)
        axes.plot(range(1, len(values) + 1), [of.scale * value for value in values], "o-", color=style.BLUE)
        axes.set_ylabel(of.axis)
    panels[1].xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    panels[1].set_xlabel("members averaged")
    return figure


def disagreement(logits: Tensor, labels: Tensor, class_names: Sequence[str] | None) -> Figure:
    """Draw on how many images two members differ, and on which classes they differ most."""
    figure = Figure(figsize=(style.WIDTH, 5.8))
    top, bottom = figure.subplots(2, 1, height_ratios=(1.3, 1))
    _disagreement_matrix(top, 100 * disagreement_matrix(logits))
    _disagreement_by_class(bottom, 100 * disagreement_by_class(logits, labels).nan_to_num(-1), class_names)
    return figure


def _disagreement_matrix(axes: Axes, matrix: Tensor) -> None:
    members, highest = len(matrix), max(matrix.max().item(), 1)
    shown = matrix.masked_fill(torch.eye(members, dtype=torch.bool), torch.nan)
    image = axes.imshow(shown.numpy(), cmap="Blues", vmin=0, vmax=highest)
    if members <= ANNOTATED:
        for m in range(members):
            for n in range(members):
                if m != n:
                    dark = matrix[m, n] > highest / 2
                    color = "white" if dark else style.BLACK
                    size = 9 if members <= ANNOTATED // 2 else 7
                    axes.text(n, m, f"{matrix[m, n]:.1f}", ha="center", va="center", fontsize=size, color=color)
    ticks = range(members) if members <= ANNOTATED else range(0, members, -(-members // ANNOTATED))
    axes.set_xticks(ticks, [m + 1 for m in ticks])
    axes.set_yticks(ticks, [m + 1 for m in ticks])
    axes.grid(False)
    axes.set(xlabel="member", ylabel="member", title="pairs disagree on (% of images)")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def _disagreement_by_class(axes: Axes, share: Tensor, class_names: Sequence[str] | None) -> None:
    """Draw the share (K,) of the classes with the highest ones; one below 0 is of a class without images."""
    highest = share.argsort(descending=True, stable=True)[:CLASSES_SHOWN]
    highest = highest[share[highest] >= 0].flip(0)
    axes.barh(range(len(highest)), share[highest].tolist(), height=0.7, color=style.BLUE)
    names = [_fit(class_names[k]) if class_names else k for k in highest.tolist()]
    axes.set_yticks(range(len(highest)), names)
    middle, half = (len(highest) - 1) / 2, max(len(highest), 5) / 2  # room for five, lest two bars look like walls
    axes.set_ylim(middle - half, middle + half)
    axes.grid(False, axis="y")
    most = "" if len(highest) == len(share) else f", the {len(highest)} highest"
    axes.set_xlim(0, max(1.05 * share.max().item(), 1))
    axes.set(xlabel="images (%)", ylabel="class", title=f"the same by class{most}")


def reliability(pool: Statistics, members: Sequence[Statistics]) -> Figure:
    """Draw the reliability of the ensemble and of its members; below, how many images are in a bin."""
    bins = equal_width(pool.confidence, pool.correct)
    figure = Figure(figsize=(style.WIDTH, 4.8))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _diagonal(top)
    if members:
        joined = equal_width(*(torch.cat([of[i] for of in members]) for i in range(2)))
        ece = sum(equal_width(*of[:2]).error.item() for of in members) / len(members)
        _curve(top, joined, f"members, mean ECE {ece:.3f}", style.VERMILLION, "s:")
        counts = (joined.count / len(members)).numpy()
        bottom.stairs(counts, EDGES, color=style.VERMILLION, linestyle=":", linewidth=1.4)
    _pool(top, bottom, bins, f"{'ensemble' if members else 'network'}, ECE {bins.error.item():.3f}")
    top.set_ylabel("accuracy")
    bottom.set(xlabel=f"confidence (pale: a bin of fewer than {FEW} images)", ylabel="images")
    figure.legend(loc="outside upper center")
    return figure


def before_and_after(log_p: Tensor, labels: Tensor, temperature: float) -> Figure:
    """Draw the reliability of a prediction (N, K) as it is and at a temperature; below, how many images a bin has."""
    figure = Figure(figsize=(style.WIDTH, 3.8))
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(2, 1))
    for (top, bottom), shown, title in (
        (axes[:, 0], log_p, "as trained"),
        (axes[:, 1], log_mean(log_p[None], [temperature]), f"at T = {temperature:.3g}"),
    ):
        of = statistics(shown, labels)
        bins = equal_width(of.confidence, of.correct)
        _diagonal(top)
        _pool(top, bottom, bins, "prediction")
        top.set_title(f"{title}: ECE {bins.error.item():.3f}")
        bottom.set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images")
    figure.legend(handles=axes[0, 0].lines, loc="outside upper center", ncols=2)
    return figure


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=style.GREY, linestyle="--", linewidth=1, label="perfectly calibrated")


def _pool(top: Axes, bottom: Axes, bins: Bins, label: str) -> None:
    _curve(top, bins, label, style.BLUE, "o-")
    bottom.stairs(bins.count.numpy(), EDGES, color=style.BLUE, fill=True, alpha=0.5)
    top.set(xlim=(0, 1), ylim=(0, 1))
    bottom.set(yscale="log")
    bottom.set_ylim(bottom=0.5)  # a bin of one image is to be seen
    bottom.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    bottom.minorticks_off()


def _curve(axes: Axes, bins: Bins, label: str, color: str, look: str) -> None:
    """Draw mean confidence and accuracy of the bins that hold examples, pale where these are few.

    Of a single bin a line over its width is drawn, as a lone dot looks like a mistake.
    """
    held = bins.count > 0
    x, y = ((total[held] / bins.count[held]).numpy() for total in (bins.confidence, bins.correct))
    axes.plot(x, y, look[1:], color=color, linewidth=0.8, label=label)
    if len(x) == 1:
        axes.stairs(y, EDGES[held.nonzero().item() :][:2], baseline=None, color=color, linewidth=1.4)
    shades = [to_rgba(color, 1 if count >= FEW else 0.25) for count in bins.count[held].tolist()]
    axes.scatter(x, y, s=20, c=shades, marker=look[0], zorder=3, clip_on=False)
