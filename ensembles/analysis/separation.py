"""How MIMO's subnetworks share the hidden units among them (MIMO, Figure 4, left)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.analysis.trained import Trained
from ensembles.errors import UserError
from ensembles.methods.base import Ensemble
from ensembles.methods.mimo import MIMONetwork
from ensembles.reports import style
from ensembles.rng import generator

ONE = 0.9  # share of its variance from which on a unit counts as one subnetwork's


@torch.inference_mode()
def conditional_variances(ensemble: Ensemble, images: Tensor, fixed: int = 16) -> Tensor:
    """The variance of each unit's pre-activation over one input, the others being fixed, on average over those.

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
    """Of input m: (units,)."""
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
    """The variances over the batch of the channels that go into each ReLU, (C,) for each call."""
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
    """A panel for each line: of two inputs the histogram of the units' conditional variances, of more their scatter.

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
        findings.append(_said(line.name, variances))
    for panel in panels:
        panel.set_axis_off()
    return Drawing(figure, data, findings)


def shares(variances: Tensor) -> Tensor:
    """Each input's share (M, U) of a unit's conditional variances; a unit that never changes has none of any."""
    return variances / variances.sum(0).clamp(min=torch.finfo(variances.dtype).tiny)


def _histogram(panel: Axes, variances: Tensor) -> None:
    top = variances.max().item()
    for m, values in enumerate(variances):
        colour, hatch = style.SERIES[m], ("//", "\\\\")[m]
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
            color=style.SERIES[m % len(style.SERIES)],
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


def _said(name: str, variances: Tensor) -> str:
    changing = variances.sum(0) > 0
    top = shares(variances[:, changing]).max(0).values
    return (
        f"{name}: of {len(top)} units that change at all, {100 * (top >= ONE).double().mean():.0f} % have at least "
        f"{100 * ONE:.0f} % of their conditional variance from one input; the median unit has {100 * top.median():.0f} "
        f"%, and {100 / len(variances):.0f} % would be no separation."
    )
