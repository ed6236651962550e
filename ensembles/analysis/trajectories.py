"""The members' way through function space as they train (MIMO, Figure 4, middle right)."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from torch import Tensor

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.trained import Trained
from ensembles.metrics.diversity import disagreement_matrix, pair_mean
from ensembles.reports import style


def trajectory(trained: Trained, images: Tensor) -> tuple[list[int], Tensor]:
    """The members' predictions at each kept epoch: the epochs done, and logits (epochs, M, N, K).

    Args:
        images: (N, C, H, W), normalised.

    Raises:
        UserError: the run has kept no epochs.
    """
    kept = trained.epochs
    with torch.inference_mode():
        return list(kept), torch.stack([trained.at(path)(images).cpu() for path in kept.values()])


def trajectories(lines: Sequence[FigureRow], images: int = 500, perplexity: float = 30.0) -> Drawing:
    """A panel for each line with its members' ways, in one t-SNE embedding of all; of each line's first run.

    Args:
        images: of the test set, whose predicted probabilities are a point of function space.
        perplexity: of t-SNE, the number of neighbours that count; at most a third of the points.
    """
    found = []
    for line in lines:
        trained = Trained(line.runs[0])
        found.append(trajectory(trained, trained.test(images)[0]))
    places = embed([logits for _, logits in found], perplexity)
    figure = Figure(figsize=(3.2 * len(lines), 3.3))
    panels = figure.subplots(1, len(lines), squeeze=False, sharex=True, sharey=True)[0]
    data, findings = [], []
    for line, (epochs, logits), where, panel in zip(lines, found, places, panels, strict=True):
        _panel(panel, where)
        panel.set_title(line.name, loc="left")
        for m in range(where.shape[1]):
            for epoch, (x, y) in zip(epochs, where[:, m].tolist(), strict=True):
                data.append({"method": line.name, "member": m + 1, "epochs": epoch, "x": x, "y": y})
        findings.append(_said(line, epochs, logits))
    panels[0].set_ylabel("t-SNE 2")
    handles, labels = max((panel.get_legend_handles_labels() for panel in panels), key=lambda found: len(found[1]))
    settings = {"title": "from the open circle to the star", "ncols": len(labels)}
    figure.legend(handles, labels, loc="outside upper center", **settings)
    return Drawing(figure, data, findings)


def embed(logits: Sequence[Tensor], perplexity: float) -> list[Tensor]:
    """Places (epochs, M, 2) for each of several logits (epochs, M, N, K), all in one t-SNE embedding."""
    points = [each.softmax(-1).flatten(2).flatten(0, 1) for each in logits]
    together = torch.cat(points).double().numpy()
    settings = {"perplexity": min(perplexity, (len(together) - 1) / 3), "init": "pca", "random_state": 0}
    places = torch.from_numpy(TSNE(**settings).fit_transform(together))
    split = places.split([len(each) for each in points])
    return [each.unflatten(0, logits[i].shape[:2]) for i, each in enumerate(split)]


def _panel(panel: Axes, where: Tensor) -> None:
    for m in range(where.shape[1]):
        x, y = where[:, m].T
        colour = style.SERIES[m % len(style.SERIES)]
        panel.plot(x, y, marker=".", color=colour, lw=0.8, ms=3, ls=style.DASHES[m % len(style.DASHES)])
        panel.plot(x[:1], y[:1], "o", color="white", mec=colour, ms=6)
        panel.plot(x[-1:], y[-1:], "*", color=colour, ms=11, mec="white", label=f"member {m + 1}")
    panel.set_xlabel("t-SNE 1")


def _said(line: FigureRow, epochs: list[int], logits: Tensor) -> str:
    early = min(1, len(epochs) - 1)
    first, last = (100 * pair_mean(disagreement_matrix(logits[i].double())).item() for i in (early, -1))
    whole = line.results[0]
    said = (
        f"{line.name}: two members disagree on {first:.1f} % of the images after epoch {epochs[early]}, on "
        f"{last:.1f} % after epoch {epochs[-1]}"
    )
    if "diversity/ratio" in whole:
        said += (
            f"; of the whole test set on {100 * whole['diversity/disagreement']:.1f} %, "
            f"{whole['diversity/ratio']:.2f} of a member's error rate"
        )
    return f"{said}."
