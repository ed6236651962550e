"""All processes' predictions in the data set's order."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def gather(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join a process's batches of (logits (M, b, K), labels (b,)), then the processes', which hold successive slices.

    Returns:
        logits (M, N, K) and labels (N,) on the CPU, the same in every process; no example twice, none left out.
    """
    own = (torch.cat([logits.cpu() for logits, _ in parts], dim=1), torch.cat([labels.cpu() for _, labels in parts]))
    if not (dist.is_available() and dist.is_initialized()):
        return own
    shares: list = [None] * dist.get_world_size()
    dist.all_gather_object(shares, own)
    return torch.cat([logits for logits, _ in shares], dim=1), torch.cat([labels for _, labels in shares])
