"""Bias, variance and error of a regression over training sets (MIMO, section 2.1), as training goes on."""

import time
import zipfile
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ensembles.analysis.population import Population
from ensembles.files import replacing
from ensembles.metrics.regression import bias_and_variance
from ensembles.rng import generator
from ensembles.runs import Run

RESAMPLES = 200
PARTS = ("bias2", "variance", "error")


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
    """Squared bias, variance and their sum over training sets, (3,), from (S, N) predictions and (N,) targets."""
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
        with np.load(kept, allow_pickle=False) as file:
            return OverSets(**file)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        found = _computed(run.config, sets, every)
    with replacing(kept) as draft, draft.open("wb") as file:
        np.savez(file, **vars(found))
    return found


def _computed(config: dict, sets: int, every: int) -> OverSets:
    started = time.perf_counter()
    population = Population(config, range(sets))
    data = population.data[0]
    x, targets = data.sets["test"].features, data.sets["test"].labels.double()
    epochs, ensemble, members = [], [], []
    for done in population.train():
        if done % every == 0 or done == population.recipe.epochs:
            last = population.predict(x).double()
            epochs.append(done)
            ensemble.append(parts(last.mean(1), targets))
            members.append(torch.stack([parts(member, targets) for member in last.unbind(1)]).mean(0))
    curves = (torch.stack(curve).numpy() for curve in (ensemble, members))
    seconds = time.perf_counter() - started
    return OverSets(np.array(epochs), *curves, last.float().numpy(), targets.numpy(), seconds)


def resampled(found: OverSets) -> Tensor:
    """The ensemble's parts after the last epoch over resampled training sets, (R, 3); the same sets at each call."""
    ensemble, targets = torch.from_numpy(found.last).double().mean(1), torch.from_numpy(found.targets)
    sets = len(ensemble)
    picks = torch.randint(sets, (RESAMPLES, sets), generator=generator("bootstrap", sets))
    share = torch.nn.functional.one_hot(picks, sets).double().mean(1)
    mean, square = share @ ensemble, share @ ensemble.square()
    bias2, variance = (mean - targets).square().mean(1), (square - mean.square()).mean(1)
    return torch.stack([bias2, variance, bias2 + variance], dim=1)
