"""What a configuration is and costs: parameters, multiply-adds, passes, time."""

import re
import time
import warnings

import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ensembles import build
from ensembles.backbones.resize import parameter_count as parameters
from ensembles.backbones.trace import on_meta
from ensembles.constructors import without_pretrained
from ensembles.methods import Method
from ensembles.methods.base import Ensemble

SECONDS = 1.0  # for which forward passes are timed


def multiply_adds(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Count multiply-adds of one input in convolutions and matrix products, a pair as one, as in Packed-Ensembles.

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
    """Count the keys ``cost/*`` of results.json that need no clock; a forward pass is one of the backbone's own."""
    mult_adds = multiply_adds(ensemble, ensemble.input_shape)
    return {
        "cost/params": parameters(ensemble),
        "cost/mult_adds": mult_adds,
        "cost/forward_passes": mult_adds / multiply_adds(backbone, ensemble.input_shape),
    }


@torch.inference_mode()
def seconds_per_batch(method: Method, batch_size: int = 128) -> float:
    """Measure the least time of a forward pass on the method's device and in its layout, in about `SECONDS` of passes.

    Other programs on the machine only ever add to a time, so the least of many is the ensemble's own.
    """
    ensemble, device = method.ensemble, next(method.parameters()).device
    x = torch.randn(batch_size, *ensemble.input_shape, device=device)
    if x.dim() == 4:
        x = x.contiguous(memory_format=method.memory_format)
    times: list[float] = []
    ensemble.eval()
    while len(times) < 3 or sum(times) < SECONDS:
        start = time.perf_counter()
        ensemble(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def measure(method: Method, backbone: nn.Module, batch_size: int = 128) -> dict[str, float]:
    """Measure the keys ``cost/*`` of results.json."""
    seconds = seconds_per_batch(method, batch_size)
    return counts(method.ensemble, backbone) | {
        "cost/images_per_second": batch_size / seconds,
        "cost/ms_per_image": 1000 * seconds / batch_size,
    }


def describe(config: dict) -> dict:
    """Describe a composed and checked configuration before training, in plain data.

    Returns:
        those keys ``cost/*`` of results.json that need no clock, ``cost/member_params``, of one member as a network on
        its own, ``input_shape``, ``outputs``, ``members``, ``sharing``, a row a stage of the network with its shared
        parameters and each member's own, and ``notes``, what building it warned of.

    Raises:
        UserError: settings that cannot work.
    """
    config = OmegaConf.create(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
        about = without_pretrained(build.description(config, data))  # the same network, nothing to download
        with torch.device("meta"):
            ensemble, backbone = build.method(about).ensemble, build.backbone(about)()
    return {
        **counts(ensemble, backbone),
        "cost/member_params": parameters(ensemble.member(0)),
        "input_shape": ensemble.input_shape,
        "outputs": data.num_classes,
        "members": ensemble.M,
        "sharing": sharing(ensemble),
        "notes": list(dict.fromkeys(str(warning.message) for warning in caught)),
    }


def sharing(ensemble: Ensemble) -> list[dict]:
    """Count where an ensemble's parameters are, by the first part of their names in the network: its stage.

    Returns:
        a row a stage, in the network's order: ``shared``, stored once for all members, and ``own``, of each member.
    """
    own = {id(parameter) for parameter in ensemble.own_parameters()}
    found: dict[str, dict] = {}
    for name, parameter in ensemble.named_parameters():
        stage = re.sub(r"^(network|networks\.\d+)\.", "", name).partition(".")[0]
        row = found.setdefault(stage, {"stage": stage, "shared": 0, "own": 0})
        row["own" if id(parameter) in own else "shared"] += parameter.numel()
    return [{**row, "own": row["own"] // ensemble.M} for row in found.values()]
