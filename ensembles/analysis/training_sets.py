"""Many small networks of one configuration, each trained on a training set of its own, all at once.

Network s is what ``train.py seed=s data.set_seed=s`` trains: its initialisation, training points, order and deals are
those; only the arithmetic runs over all networks together.
"""

import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ensembles import build
from ensembles.data.datamodule import DataModule
from ensembles.files import open_arrays, replacing
from ensembles.methods import Method
from ensembles.metrics.regression import bias_and_variance
from ensembles.rng import generator, seed_of
from ensembles.runs import Run

TOGETHER = 25  # networks in one pass over the test points, for the sake of memory
RESAMPLES = 200


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


def resampled(found: OverSets, of: str = "ensemble") -> Tensor:
    """Compute the parts after the last epoch over resampled training sets, (R, 3), the same at each call.

    Args:
        of: ``ensemble``, or ``members`` for a member's on average.
    """
    predictions, targets = torch.from_numpy(found.last).double(), torch.from_numpy(found.targets)
    sets = len(predictions)
    picks = torch.randint(sets, (RESAMPLES, sets), generator=generator("bootstrap", sets))
    share = torch.nn.functional.one_hot(picks, sets).double().mean(1)
    each = [predictions.mean(1)] if of == "ensemble" else predictions.unbind(1)
    bias2 = torch.stack([(share @ one - targets).square().mean(1) for one in each]).mean(0)
    variance = torch.stack([(share @ one.square() - (share @ one).square()).mean(1) for one in each]).mean(0)
    return torch.stack([bias2, variance, bias2 + variance], dim=1)
