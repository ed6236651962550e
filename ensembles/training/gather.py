"""All processes' predictions in the data set's order."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors


def gather(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join a process's batches of (logits (M, b, K), labels (b,)), then the processes', which hold successive slices.

    Returns:
        logits (M, N, K) and labels (N,) on the CPU, the same in every process; no example twice, none left out.
    """
    logits = torch.cat([logits for logits, _ in parts], dim=1)
    labels = torch.cat([labels for _, labels in parts])
    if dist.is_available() and dist.is_initialized():
        logits = torch.cat(gather_all_tensors(logits), dim=1)
        labels = torch.cat(gather_all_tensors(labels))
    return logits.cpu(), labels.cpu()
