"""How a network is trained: optimiser, learning-rate schedule, epochs and batch size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LambdaLR

from ensembles.limits import require


@dataclass(frozen=True)
class Recipe:
    """A paper's training procedure.

    Attributes:
        optimizer: makes a torch optimiser from parameter groups.
        epochs: passes over the training set.
        batch_size: examples a step on all devices together, before a method repeats any.
        schedule: maps (epochs done, epochs) to a factor on the learning rate.
        warmup_epochs: length of a linear warm-up from zero.
    """

    optimizer: Callable[[list[dict]], torch.optim.Optimizer]
    epochs: int
    batch_size: int
    schedule: Callable[[float, int], float]
    warmup_epochs: float = 0

    def __post_init__(self) -> None:
        require("recipe.", epochs=self.epochs, batch_size=self.batch_size, warmup_epochs=self.warmup_epochs)

    def factor(self, epochs_done: float) -> float:
        """The learning rate's factor after so many epochs, counted in fractions."""
        warmup = min(1.0, epochs_done / self.warmup_epochs) if self.warmup_epochs else 1.0
        return warmup * self.schedule(epochs_done, self.epochs)

    def optimizers(self, parameter_groups: list[dict], steps: int) -> dict:
        """What LightningModule.configure_optimizers returns; the rate changes from step to step.

        Args:
            steps: optimiser steps in the whole training.
        """
        optimizer = self.optimizer(parameter_groups)
        schedule = LambdaLR(optimizer, lambda step: self.factor(self.epochs * min(step, steps) / max(1, steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def multistep(milestones: Sequence[float], decay: float, of: int) -> Callable[[float, int], float]:
    """Times ``decay`` at each milestone; counted in epochs of a training of ``of`` epochs, and stretched with it."""

    def factor(epochs_done: float, epochs: int) -> float:
        return decay ** sum(epochs_done * of / epochs >= milestone - 1e-9 for milestone in milestones)

    return factor


def cosine(floor: float = 0.0) -> Callable[[float, int], float]:
    """Half a cosine from 1 to ``floor`` over the whole training (Loshchilov & Hutter, 2017)."""

    def factor(epochs_done: float, epochs: int) -> float:
        return floor + (1 - floor) * (1 + math.cos(math.pi * epochs_done / epochs)) / 2

    return factor
