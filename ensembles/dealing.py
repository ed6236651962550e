"""Which examples of a step's global batch each member sees.

A deal answers with positions into the batch, drawn for the whole batch from a keyed generator; the loader gathers them
and takes a process's share of the last dimension, so the number of processes changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor


def everything(batch_size: int, generator: torch.Generator) -> Tensor:
    """Every member sees the batch: positions, shape (B,)."""
    return torch.arange(batch_size)


@dataclass(frozen=True)
class Deal:
    """How a method hands examples to its members.

    Attributes:
        shuffles: independent orders of the data set; with more than one, stream m is member m's own batch.
        positions: maps (B, generator) to positions into the batch: (B',) for all members alike, or (M, B').
    """

    shuffles: int = 1
    positions: Callable[[int, torch.Generator], Tensor] = everything


def mimo_positions(batch_size: int, generator: torch.Generator, M: int, rho: float, batch_repetition: int) -> Tensor:
    """Positions of each subnetwork's inputs, shape (M, B * batch_repetition) (MIMO, section 3.5).

    The batch is tiled and shuffled once; each member then shuffles the first (1 - rho) share of the positions again and
    leaves the rest, so a share rho of the positions (and chance matches) is alike in all members.
    """
    tiled = torch.arange(batch_size).repeat(batch_repetition)
    main = tiled[torch.randperm(len(tiled), generator=generator)]
    apart = round((1 - rho) * len(main))
    return torch.stack(
        [torch.cat([main[:apart][torch.randperm(apart, generator=generator)], main[apart:]]) for _ in range(M)]
    )


def mimo(M: int, rho: float, batch_repetition: int) -> Deal:
    return Deal(positions=partial(mimo_positions, M=M, rho=rho, batch_repetition=batch_repetition))
