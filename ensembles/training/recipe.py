"""How a network is trained: optimiser, learning-rate schedule, epochs and batch size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ensembles.errors import UserError, reason
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
        l1, l2: the penalty l1 * |w|_1 + l2 * |w|^2 on the loss (MIMO, appendix C), on all parameters that are decayed;
            with SGD l2 is the same as a weight decay of 2 * l2.
        decay_norms: whether norms and biases are decayed and penalised too.
        norms_lr: factor on the learning rate of norms and biases; their decay is divided by it, so that its pace stays.
        loss: cross-entropy over the classes, or binary cross-entropy of each class against the rest.
        label_smoothing: share of a label's weight that is spread evenly over all classes.
        freeze_trunk: whether only the last layer is trained; see `ensembles.methods.base.Method.freeze_trunk`.
    """

    optimizer: Callable[[list[dict]], torch.optim.Optimizer]
    epochs: int
    batch_size: int
    schedule: Callable[[float, int], float]
    warmup_epochs: float = 0
    l1: float = 0
    l2: float = 0
    decay_norms: bool = True
    norms_lr: float = 1
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    label_smoothing: float = 0
    freeze_trunk: bool = False

    def __post_init__(self) -> None:
        settings = dict(vars(self))
        for name in ("optimizer", "schedule"):
            if not callable(setting := settings.pop(name)):
                raise UserError(f"recipe.{name} is {setting!r}, but must be {{_target_: ..., its settings}}.")
        require("recipe.", **settings)

    def criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the mean loss of logits (N, K) on labels (N,), or on each class's share (N, K)."""
        if self.loss == "cross_entropy":
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        shares = labels if labels.is_floating_point() else F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        shares = shares * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        return F.binary_cross_entropy_with_logits(logits, shares)

    def factor(self, epochs_done: float) -> float:
        """Compute the learning rate's factor after so many epochs, counted in fractions."""
        warmup = min(1.0, epochs_done / self.warmup_epochs) if self.warmup_epochs else 1.0
        return warmup * self.schedule(epochs_done, self.epochs)

    def optimizers(self, parameter_groups: list[dict], steps: int) -> dict:
        """Make what LightningModule.configure_optimizers returns; the rate changes from step to step.

        Args:
            parameter_groups: as torch.optim takes them, each with what differs from the recipe for its ``params``. A
                ``weight_decay`` stands instead of the optimiser's, and one of 0 exempts from ``l1`` and ``l2`` too;
                an ``l1`` or ``l2`` stands instead of the recipe's;
                ``lr_factor`` multiplies the learning rate; ``norms`` says whether all of these belong to norms and
                biases or none (where it is not given, those of at most one dimension do).
            steps: optimiser steps in the whole training.

        Raises:
            UserError: settings that the optimiser does not take.
        """
        try:
            optimizer = self.optimizer(self._groups(parameter_groups))
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"recipe.optimizer does not take its settings: {reason(error)}.") from error
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_factor", 1)
            divisor = group.pop("decay_divisor", 1)
            if "weight_decay" in group:
                group["weight_decay"] /= divisor
        schedule = LambdaLR(optimizer, lambda step: self.factor(self.epochs * min(step, steps) / max(1, steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def penalise(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradient of the l1 and l2 penalties to the gradients that an optimiser made here is about to use."""
        for group in optimizer.param_groups:
            l1, l2 = group.get("l1", self.l1), group.get("l2", self.l2)
            if group["penalised"] and (l1 or l2):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        weight = parameter.detach()
                        parameter.grad.add_(weight.sign(), alpha=l1).add_(weight, alpha=2 * l2)

    def _groups(self, parameter_groups: list[dict]) -> list[dict]:
        """Give what differs from the recipe in torch's terms, with ``penalised`` and with norms and biases apart."""
        groups = []
        for given in parameter_groups:
            changes = {key: value for key, value in given.items() if key not in ("params", "norms")}
            changes["penalised"] = changes.get("weight_decay") != 0
            apart = not self.decay_norms or self.norms_lr != 1
            params = [p for p in given["params"] if p.requires_grad]
            norms = [p for p in params if apart and given.get("norms", p.dim() <= 1)]
            others = {id(p) for p in norms}
            groups.append({**changes, "params": [p for p in params if id(p) not in others]})
            if not self.decay_norms:
                changes |= {"weight_decay": 0, "penalised": False}
            factor = changes.get("lr_factor", 1) * self.norms_lr
            groups.append({**changes, "params": norms, "lr_factor": factor, "decay_divisor": self.norms_lr})
        return [group for group in groups if group["params"]]


def multistep(milestones: Sequence[float], decay: float, of: int) -> Callable[[float, int], float]:
    """Multiply by ``decay`` at each milestone, counted in epochs of a training of ``of`` and stretched with it."""
    require("recipe.schedule.", milestones=milestones, decay=decay, of=of)

    def factor(epochs_done: float, epochs: int) -> float:
        return decay ** sum(epochs_done * of / epochs >= milestone - 1e-9 for milestone in milestones)

    return factor


def cosine(floor: float = 0.0) -> Callable[[float, int], float]:
    """Follow half a cosine from 1 to ``floor`` over the whole training (Loshchilov & Hutter, 2017)."""
    require("recipe.schedule.", floor=floor)

    def factor(epochs_done: float, epochs: int) -> float:
        return floor + (1 - floor) * (1 + math.cos(math.pi * epochs_done / epochs)) / 2

    return factor


def triangular(peak: float) -> Callable[[float, int], float]:
    """Rise in a straight line from 0 to 1 at the share ``peak`` of the training, then fall in one to 0."""
    require("recipe.schedule.", peak=peak)

    def factor(epochs_done: float, epochs: int) -> float:
        done = epochs_done / epochs
        return done / peak if done < peak else (1 - done) / (1 - peak)

    return factor
