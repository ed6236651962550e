"""Whether networks fit this machine's memory, told before their numbers are drawn."""

import os

from torch import nn

from ensembles.errors import UserError

SHARE = 0.7  # of this machine's memory
BYTES = 4  # of a parameter


def size(network: nn.Module) -> int:
    """Number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def require_room(parameters: int, copies: int = 1) -> None:
    """Check that networks of so many parameters each can be held in memory.

    Raises:
        UserError: they take more than 70 % of this machine's memory.
    """
    needed, present = BYTES * parameters * copies, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > SHARE * present:
        raise UserError(
            f"{copies} network(s) of {parameters:,} parameters take {needed / 2**30:,.0f} GiB, and this machine has "
            f"{present / 2**30:,.0f} GiB of memory: set a smaller method.M, method.alpha, method.gamma or model.width."
        )
