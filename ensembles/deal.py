"""Which examples of a step's global batch each member sees.

A deal answers with positions into the batch, drawn for the whole batch from a keyed generator; the loader gathers them
and takes a process's share of the last dimension, so the number of processes changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ensembles.errors import UserError


def everything(batch_size: int, generator: torch.Generator) -> Tensor:
    """Let every member see the batch: positions, shape (B,)."""
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

    def of_one_batch(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draw a step's positions where all streams have the same batch, as in timing: (B',), or (M, B')."""
        dealt = self.positions(batch_size, generator)
        return dealt.expand(self.shuffles, -1) if self.shuffles > 1 else dealt


def share_positions(batch_size: int, generator: torch.Generator, M: int) -> Tensor:
    """Give each member its own share of the batch: positions, shape (M, B / M); the batch's order is random already.

    Raises:
        UserError: the batch does not divide among the members.
    """
    if batch_size % M:
        raise UserError(
            f"method.deal=shares cannot deal a step's {batch_size} examples to {M} members: set recipe.batch_size to a "
            f"multiple of {M} that the training set can fill."
        )
    return torch.arange(batch_size).view(M, -1)


def whole_or_shares(deal: str, M: int) -> Deal:
    """Make the deal that ``method.deal`` names: ``whole``, where every member sees the batch, or ``shares`` of it.

    Raises:
        UserError: another name.
    """
    if deal not in ("whole", "shares"):
        raise UserError(f"method.deal is {deal!r}, but must be whole or shares: what a member sees of each batch.")
    return Deal(positions=partial(share_positions, M=M)) if deal == "shares" else Deal()
