"""What an ensemble costs: parameters, multiply-adds, passes, time."""

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ensembles.backbones.trace import on_meta
from ensembles.methods.base import Ensemble


def parameters(module: nn.Module) -> int:
    """Stored parameters, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one input in convolutions and matrix products; a pair counts as one, as in Packed-Ensembles.

    What is computed once for a batch of any size, such as weights mixed from templates, is not among them.
    """
    shadow = on_meta(module)
    with torch.no_grad():
        one, two = (_flops(shadow, torch.empty(size, *input_shape, device="meta")) for size in (1, 2))
    return (two - one) // 2


def _flops(module: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops()


def counts(ensemble: Ensemble, backbone: nn.Module) -> dict[str, float]:
    """The keys ``cost/*`` of results.json that need no clock; a forward pass is one of the backbone's own."""
    mult_adds = multiply_adds(ensemble, ensemble.input_shape)
    return {
        "cost/params": parameters(ensemble),
        "cost/mult_adds": mult_adds,
        "cost/forward_passes": mult_adds / multiply_adds(backbone, ensemble.input_shape),
    }


@torch.inference_mode()
def seconds_per_batch(ensemble: Ensemble, batch_size: int = 128, budget: float = 1.0) -> float:
    """The least time of a forward pass on the ensemble's device, in about ``budget`` seconds of passes.

    Other programs on the machine only ever add to a time, so the least of many is the ensemble's own.
    """
    device = next(ensemble.parameters()).device
    x = torch.randn(batch_size, *ensemble.input_shape, device=device)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    times: list[float] = []
    ensemble.eval()
    while len(times) < 3 or sum(times) < budget:
        start = time.perf_counter()
        ensemble(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def measure(ensemble: Ensemble, backbone: nn.Module, batch_size: int = 128) -> dict[str, float]:
    """The keys ``cost/*`` of results.json."""
    seconds = seconds_per_batch(ensemble, batch_size)
    return counts(ensemble, backbone) | {
        "cost/images_per_second": batch_size / seconds,
        "cost/ms_per_image": 1000 * seconds / batch_size,
    }
