"""Bias and variance over training sets of MIMO on a synthetic regression (Havasi et al., 2021, Figure 2).

Many small networks of one configuration are trained at once, each on a training set of its own. Network s is what
``train.py seed=s data.set_seed=s`` trains: its initialisation, training points, order and deals are those; only the
arithmetic runs over all networks together.
"""

import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ensembles import build
from ensembles.analysis.series import Drawing, FigureRow
from ensembles.data.datamodule import DataModule
from ensembles.data.synthetic_regression import SyntheticRegression, noisy
from ensembles.errors import UserError
from ensembles.files import open_arrays, replacing
from ensembles.methods import Method
from ensembles.metrics.regression import bias_and_variance
from ensembles.predictor import load
from ensembles.reports import style
from ensembles.reports.regression_plots import band
from ensembles.rng import generator, seed_of
from ensembles.runs import Run

TITLES = {"bias2": "squared bias", "variance": "variance", "error": "mean squared error"}
BEYOND = 0.25  # of the interval's width, on each side of the example
DRAWS = 400  # of the noise at each test point
CLAIMED = (("squared bias", 1), ("variance", -1), ("mean squared error", -1))  # where each goes with M
TOGETHER = 25  # networks in one pass over the test points, for the sake of memory
RESAMPLES = 200
PARTS = ("bias2", "variance", "error")


class VmappedTraining:
    """Networks of one regression's configuration.

    Args:
        config: composed and checked, as of a run; of a method that trains all weights alike, such as MIMO, and an
            optimiser that works on each weight apart, such as Adam.
        seeds: of the networks, each with its training set.
    """

    def __init__(self, config: dict, seeds: Sequence[int]) -> None:
        pairs = [_network(config, seed) for seed in seeds]
        self.methods = [method for method, _ in pairs]
        self.data = [data for _, data in pairs]
        self.recipe = build.call(config["recipe"])
        weights, self._buffers = stack_module_state([method.ensemble for method in self.methods])
        self._weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}

    def train(self) -> Iterator[int]:
        """Train; yields after each epoch how many are done."""
        loaders = [data.train_dataloader() for data in self.data]
        steps = self.recipe.epochs * len(loaders[0])
        given = self.recipe.optimizers([{"params": list(self._weights.values())}], steps)
        optimizer, schedule = given["optimizer"], given["lr_scheduler"]["scheduler"]
        losses = vmap(self._loss)
        for epoch in range(self.recipe.epochs):
            for step in range(len(loaders[0])):
                batches = [
                    data.on_after_batch_transfer(loader.batch(epoch, step), 0)
                    for data, loader in zip(self.data, loaders, strict=True)
                ]
                x, y = (torch.stack(part) for part in zip(*batches, strict=True))
                optimizer.zero_grad()
                losses(self._weights, self._buffers, x, y).sum().backward()
                self.recipe.penalise(optimizer)
                optimizer.step()
                schedule.step()
            yield epoch + 1

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Predict the members' means on common points (N, D), of all networks: (S, M, N)."""
        inputs = x.view(-1, *self.methods[0].ensemble.input_shape)
        outputs = vmap(self._outputs, in_dims=(0, 0, None), chunk_size=TOGETHER)
        return self.methods[0].likelihood.moments(outputs(self._weights, self._buffers, inputs))[0]

    def _loss(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self.methods[0].loss(self._outputs(weights, buffers, x), y)

    def _outputs(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        """Compute the outputs (M, B, K) of one network with these weights."""
        prefixed = {f"ensemble.{name}": tensor for name, tensor in {**weights, **buffers}.items()}
        return functional_call(_Pass(self.methods[0].ensemble), prefixed, (x,))


class _Pass(nn.Module):
    """An ensemble's pass, for all members alike or for each its own."""

    def __init__(self, ensemble: nn.Module) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, x: Tensor) -> Tensor:
        return self.ensemble(x) if x.dim() == len(self.ensemble.input_shape) + 1 else self.ensemble.each(x)


def _network(config: dict, seed: int) -> tuple[Method, DataModule]:
    """Build the untrained method and the data of a run with this seed."""
    config = OmegaConf.merge(config, {"seed": seed, "data": {"set_seed": seed}})
    torch.manual_seed(seed_of(seed, "initialisation"))
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=seed)
    method = build.method(build.description(config, data))
    method.ensemble.form = "loop"
    method.recipe = build.call(config.recipe)
    data.deal = method.deal
    data.setup()
    return method, data


@dataclass(frozen=True)
class OverSets:
    """What S networks, each of its own training set, predict of the test points.

    Attributes:
        epochs: (E,) after which they were looked at.
        ensemble, members: (E, 3), squared bias, variance and their sum, of the ensemble and of a member on average.
        last: (S, M, N) predictions after the last epoch.
        targets: (N,), with their noise.
        seconds: that the trainings took together.
    """

    epochs: np.ndarray
    ensemble: np.ndarray
    members: np.ndarray
    last: np.ndarray
    targets: np.ndarray
    seconds: float


def parts(predictions: Tensor, targets: Tensor) -> Tensor:
    """Compute squared bias, variance and their sum over training sets, (3,), of predictions (S, N) for targets (N,)."""
    bias2, variance = bias_and_variance(predictions, targets)
    return torch.stack([bias2, variance, bias2 + variance])


def over_sets(run: Run, sets: int, every: int) -> OverSets:
    """Train the run's configuration on so many training sets, the first of which is that of seed 0; keep the result.

    Args:
        run: a finished run; the result is kept in its folder, and read from there the next time.
        every: epochs between two looks.
    """
    kept = run.folder / f"training_sets-{sets}-{every}.npz"
    try:
        with open_arrays(kept) as file:
            return OverSets(**file)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        found = _computed(run.config, sets, every)
    with replacing(kept) as draft, draft.open("wb") as file:
        np.savez(file, **vars(found))
    return found


def _computed(config: dict, sets: int, every: int) -> OverSets:
    started = time.perf_counter()
    training = VmappedTraining(config, range(sets))
    data = training.data[0]
    x, targets = data.sets["test"].features, data.sets["test"].labels.double()
    epochs, ensemble, members = [], [], []
    for done in training.train():
        if done % every == 0 or done == training.recipe.epochs:
            last = training.predict(x).double()
            epochs.append(done)
            ensemble.append(parts(last.mean(1), targets))
            members.append(torch.stack([parts(member, targets) for member in last.unbind(1)]).mean(0))
    curves = (torch.stack(curve).numpy() for curve in (ensemble, members))
    seconds = time.perf_counter() - started
    return OverSets(np.array(epochs), *curves, last.float().numpy(), targets.numpy(), seconds)


def resampled(found: OverSets) -> Tensor:
    """Compute the ensemble's parts after the last epoch over resampled training sets, (R, 3), the same at each call."""
    ensemble, targets = torch.from_numpy(found.last).double().mean(1), torch.from_numpy(found.targets)
    sets = len(ensemble)
    picks = torch.randint(sets, (RESAMPLES, sets), generator=generator("bootstrap", sets))
    share = torch.nn.functional.one_hot(picks, sets).double().mean(1)
    mean, square = share @ ensemble, share @ ensemble.square()
    bias2, variance = (mean - targets).square().mean(1), (square - mean.square()).mean(1)
    return torch.stack([bias2, variance, bias2 + variance], dim=1)


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
    return Drawing(figure, _data(found), claims(lines, found, data))


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


def claims(lines: Sequence[FigureRow], found: Mapping[int, OverSets], data: SyntheticRegression) -> list[str]:
    """Write the findings, in plain sentences; ± is one standard deviation over resampled training sets."""
    Ms = sorted(found)
    sets = len(found[Ms[0]].last)
    said = [
        f"The ensemble over {sets} training sets: {name} {_numbers(found, i)}." for i, (name, _) in enumerate(CLAIMED)
    ]
    said += [f"From M = {Ms[0]} to M = {M}: {_changes(found[Ms[0]], found[M])}." for M in Ms[1:]]
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


def _changes(first: OverSets, other: OverSets) -> str:
    change = other.ensemble[-1] - first.ensemble[-1]
    sd = (resampled(other) - resampled(first)).std(0)  # of the same sets, so what they share cancels
    return ", ".join(
        f"{name} {change[i]:+.2g} ± {sd[i]:.1g} ({_verdict(change[i] * sign, sd[i].item())})"
        for i, (name, sign) in enumerate(CLAIMED)
    )


def _verdict(change: float, sd: float) -> str:
    if abs(change) < 2 * sd:
        return "within chance"
    return "as in the paper" if change > 0 else "against the paper"


def _beside(line: FigureRow, found: Mapping[int, OverSets]) -> str:
    M = line.runs[0].config["method"]["M"]
    together = ((found[M].last[0].astype(float).mean(0) - found[M].targets) ** 2).mean()
    return f"{together:#.4g} and {line.results[0]['test/mse']:#.4g} (M = {M})"
