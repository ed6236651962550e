"""Ghost batch norm: statistics over parts of the batch that have a fixed size, on however many devices."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.errors import UserError
from ensembles.limits import require


class GhostBatchNorm:
    """Mixed into a batch norm's class: in training it normalises each ghost batch by the ghost batch's statistics.

    The running statistics follow the mean over all ghost batches, all processes' included, so training on one device
    and on several is the same, as long as a process's examples are whole ghost batches. Examples that do not fill one
    are spread over the others.

    Attributes:
        ghost_batch: examples of a ghost batch.
        members: how many members' batches, one after another, a batch is; a ghost batch has its examples of each.
    """

    ghost_batch: int
    members: int = 1

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        running = {key: buffer for key, buffer in self._buffers.items() if buffer is not None}
        outputs, after = [], []
        try:
            for part in self._ghosts(x):
                # Each starts from the statistics before the step, so the mean of what they leave is the mean's update.
                self._buffers |= {key: buffer.clone() for key, buffer in running.items()}
                outputs.append(super().forward(part))
                after.append({key: self._buffers[key] for key in running})
        finally:
            self._buffers |= running
        for key, buffer in running.items():
            buffer.copy_(_mean([buffers[key] for buffers in after]))
        if len(outputs) == 1:
            return outputs[0]
        by_member = zip(*(output.chunk(self.members) for output in outputs), strict=True)
        return torch.cat([part for own in by_member for part in own])

    def _ghosts(self, x: Tensor) -> list[Tensor]:
        ghosts = len(x) // self.members // self.ghost_batch
        if ghosts <= 1:
            return [x]
        by_member = [own.tensor_split(ghosts) for own in x.chunk(self.members)]
        return [torch.cat(parts) if self.members > 1 else parts[0] for parts in zip(*by_member, strict=True)]


def ghost(network: nn.Module, ghost_batch: int) -> nn.Module:
    """Let all batch norms of a network, in place, take their statistics over ghost batches of so many examples.

    Raises:
        UserError: the network has no batch norm.
    """
    require("model.", ghost_batch=ghost_batch)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        raise UserError(f"model.ghost_batch: {type(network).__name__} has no batch norm, so set it to null.")
    for norm in norms:
        norm.__class__ = _ghostly(type(norm))
        norm.ghost_batch = ghost_batch
    return network


@contextmanager
def members_in_batch(network: nn.Module, M: int) -> Iterator[None]:
    """Tell a network's ghost batch norms that a batch is M members' batches, one after another."""
    norms = [module for module in network.modules() if isinstance(module, GhostBatchNorm)]
    try:
        for norm in norms:
            norm.members = M
        yield
    finally:
        for norm in norms:
            del norm.members


@cache
def _ghostly(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    """Make a subclass of this very kind, since timm's batch norms do more than normalise."""
    return type(f"Ghost{kind.__name__}", (GhostBatchNorm, kind), {})


def _mean(buffers: list[Tensor]) -> Tensor:
    if not buffers[0].is_floating_point():
        return buffers[0]  # the number of batches, which all count alike
    mean = torch.stack(buffers).mean(0)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return mean
