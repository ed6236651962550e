"""How subnetworks come apart: in the hidden units, and in function space as they train (MIMO, Figure 4)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from torch import Tensor, nn

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.trained import Trained
from ensembles.errors import UserError
from ensembles.methods.base import Ensemble
from ensembles.methods.mimo import MIMONetwork
from ensembles.metrics.diversity import disagreement_matrix, pair_mean
from ensembles.reports import style
from ensembles.rng import generator

PERPLEXITY = 30  # of t-SNE, the number of neighbours that count; at most a third of the points
ONE = 0.9  # share of its variance from which on a unit counts as one subnetwork's


@torch.inference_mode()
def conditional_variances(ensemble: Ensemble, images: Tensor, fixed: int = 16) -> Tensor:
    """Compute the variance of each unit's pre-activation over one input, on average over values of the others.

    A unit is a channel that goes into a ReLU; its variance is the mean over the channel's places.

    Args:
        images: (N, C, H, W), normalised; the input runs over all of them.
        fixed: values of the other inputs, drawn from the images.

    Returns:
        (M, units) on the CPU, the units in the order in which they run.

    Raises:
        UserError: no MIMO network, or one without ReLU modules.
    """
    if not isinstance(ensemble, MIMONetwork):
        raise UserError(f"Only method=mimo has an input for each subnetwork, and this is a {type(ensemble).__name__}.")
    draws = generator("conditional variances")
    return torch.stack([_of_input(ensemble, images, m, fixed, draws) for m in range(ensemble.M)])


def _of_input(ensemble: MIMONetwork, images: Tensor, m: int, fixed: int, draws: torch.Generator) -> Tensor:
    """Compute those of input m: (units,)."""
    total: Tensor | float = 0.0
    for _ in range(fixed):
        chosen = images[torch.randint(len(images), (ensemble.M,), generator=draws)]
        inputs = chosen[:, None].expand(-1, *images.shape).clone()
        inputs[m] = images
        with _pre_activations(ensemble.network) as found:
            ensemble.each(inputs)
        if not found:
            raise UserError(f"{type(ensemble.network).__name__} has no ReLU modules, so it shows no pre-activations.")
        total = total + torch.cat(found)
    return (total / fixed).cpu()


@contextmanager
def _pre_activations(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the variances over the batch of the channels that go into each ReLU, (C,) for each call."""
    found: list[Tensor] = []

    def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0].double().var(0).unsqueeze(-1).flatten(1).mean(1))

    hooks = [module.register_forward_pre_hook(take) for module in network.modules() if isinstance(module, nn.ReLU)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def separation(lines: Sequence[FigureRow], images: int = 128, fixed: int = 16) -> Drawing:
    """Draw a panel for each line: of two inputs a histogram of the units' conditional variances, of more their scatter.

    Args:
        images: of the test set, over which an input runs.
        fixed: values of the other inputs.
    """
    columns = min(2, len(lines))
    rows = -(-len(lines) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.3 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    data, findings = [], []
    for line, panel in zip(lines, panels, strict=False):
        trained = Trained(line.runs[0])
        variances = conditional_variances(trained.ensemble, trained.test(images)[0], fixed)
        if len(variances) < 2:
            raise UserError(f"One input cannot be told from others: set method.M of {line.name!r} to 2 or more.")
        (_histogram if len(variances) == 2 else _scatter)(panel, variances)
        panel.set_title(line.name, loc="left")
        data += _rows(line.name, variances)
        findings.append(_units_said(line.name, variances))
    for panel in panels:
        panel.set_axis_off()
    return Drawing(figure, data, findings)


def shares(variances: Tensor) -> Tensor:
    """Compute each input's share (M, U) of units' conditional variances; none of units that never change."""
    return variances / variances.sum(0).clamp(min=torch.finfo(variances.dtype).tiny)


def _histogram(panel: Axes, variances: Tensor) -> None:
    top = variances.max().item()
    for m, values in enumerate(variances):
        colour, hatch = style.colour(m), ("//", "\\\\")[m]
        panel.hist(values, bins=40, range=(0, top), histtype="step", color=colour, hatch=hatch, label=f"input {m + 1}")
    panel.set(xlabel="conditional variance of a unit", ylabel="units")
    panel.legend(title="with respect to")


def _scatter(panel: Axes, variances: Tensor) -> None:
    share, owner = shares(variances).max(0)
    for m in range(len(variances)):
        mine = (owner == m) & (share >= ONE)
        panel.plot(
            *variances[:2, mine],
            ls="",
            marker="ov^sD"[m % 5],
            ms=3,
            alpha=0.7,
            color=style.colour(m),
            label=f"input {m + 1}",
        )
    rest = share < ONE
    panel.plot(*variances[:2, rest], ls="", marker="x", ms=3, color=style.GREY, label="several inputs")
    panel.set(xlabel="conditional variance, input 1", ylabel="conditional variance, input 2")
    panel.legend(title=f"{100 * ONE:.0f} % of the variance from")


def _rows(name: str, variances: Tensor) -> list[dict]:
    return [
        {"method": name, "unit": u, **{f"variance_{m + 1}": value for m, value in enumerate(values)}}
        for u, values in enumerate(variances.T.tolist())
    ]


def _units_said(name: str, variances: Tensor) -> str:
    changing = variances.sum(0) > 0
    top = shares(variances[:, changing]).max(0).values
    return (
        f"{name}: of {len(top)} units that change at all, {100 * (top >= ONE).double().mean():.0f} % have at least "
        f"{100 * ONE:.0f} % of their conditional variance from one input; the median unit has {100 * top.median():.0f} "
        f"%, and {100 / len(variances):.0f} % would be no separation."
    )


def trajectory(trained: Trained, images: Tensor) -> tuple[list[int], Tensor]:
    """Predict at each kept epoch: the epochs done, and the members' logits (epochs, M, N, K).

    Args:
        images: (N, C, H, W), normalised.

    Raises:
        UserError: the run has kept no epochs.
    """
    kept = trained.epochs
    with torch.inference_mode():
        return list(kept), torch.stack([trained.at(path)(images).cpu() for path in kept.values()])


def trajectories(lines: Sequence[FigureRow], images: int = 500) -> Drawing:
    """Draw a panel for each line with its members' ways, in one t-SNE embedding of all; of each line's first run.

    Args:
        images: of the test set, whose predicted probabilities are a point of function space.
    """
    found = []
    for line in lines:
        trained = Trained(line.runs[0])
        found.append(trajectory(trained, trained.test(images)[0]))
    places = embed([logits for _, logits in found])
    figure = Figure(figsize=(3.2 * len(lines), 3.3))
    panels = figure.subplots(1, len(lines), squeeze=False, sharex=True, sharey=True)[0]
    data, findings = [], []
    for line, (epochs, logits), where, panel in zip(lines, found, places, panels, strict=True):
        _draw_trajectories(panel, where)
        panel.set_title(line.name, loc="left")
        for m in range(where.shape[1]):
            for epoch, (x, y) in zip(epochs, where[:, m].tolist(), strict=True):
                data.append({"method": line.name, "member": m + 1, "epochs": epoch, "x": x, "y": y})
        findings.append(_trajectories_said(line, epochs, logits))
    panels[0].set_ylabel("t-SNE 2")
    handles, labels = max((panel.get_legend_handles_labels() for panel in panels), key=lambda found: len(found[1]))
    settings = {"title": "from the open circle to the star", "ncols": len(labels)}
    figure.legend(handles, labels, loc="outside upper center", **settings)
    return Drawing(figure, data, findings)


def embed(logits: Sequence[Tensor]) -> list[Tensor]:
    """Find places (epochs, M, 2) for each of several logits (epochs, M, N, K), all in one t-SNE embedding."""
    points = [each.softmax(-1).flatten(2).flatten(0, 1) for each in logits]
    together = torch.cat(points).double().numpy()
    settings = {"perplexity": min(PERPLEXITY, (len(together) - 1) / 3), "init": "pca", "random_state": 0}
    places = torch.from_numpy(TSNE(**settings).fit_transform(together))
    split = places.split([len(each) for each in points])
    return [each.unflatten(0, logits[i].shape[:2]) for i, each in enumerate(split)]


def _draw_trajectories(panel: Axes, where: Tensor) -> None:
    for m in range(where.shape[1]):
        x, y = where[:, m].T
        colour = style.look(m)["color"]
        panel.plot(x, y, **style.look(m), marker=".", lw=0.8, ms=3)
        panel.plot(x[:1], y[:1], "o", color="white", mec=colour, ms=6)
        panel.plot(x[-1:], y[-1:], "*", color=colour, ms=11, mec="white", label=f"member {m + 1}")
    panel.set_xlabel("t-SNE 1")


def _trajectories_said(line: FigureRow, epochs: list[int], logits: Tensor) -> str:
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
