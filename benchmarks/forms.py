"""What M members cost in a loop and side by side, on thin networks and on wide ones, in passes of a single network.

    python benchmarks/forms.py
    python benchmarks/forms.py --networks wrn16_1 --methods packed --batch-size 64

``by hand`` is Packed-Ensembles as one network of grouped layers, written in plain torch as other libraries have it.

Each round times every network of a size once, one after another, and a ratio is to the single network's time in the
same round. On a CPU a time is what one thread has computed for, so that other programs hardly count.
Writes ``forms.csv`` and ``forms.md`` to ``--out``.
"""

import argparse
import copy
import time
from statistics import median

import torch
from common import argument_parser, method_on_cifar10, write_table
from members_timing import WORKS, Timed, batch, in_rounds
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ensembles.methods import Method
from ensembles.processes import keep_freed_memory

NETWORKS = {  # from thin to wide
    "wrn16_1": ["model=wrn", "model.depth=16", "model.widen_factor=1"],
    "resnet18 x 1/4": ["model=resnet18", "model.width=0.25"],
    "resnet18": ["model=resnet18"],
}
METHODS = ("packed", "batch_ensemble", "mixture")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = [row for name in options.networks.split(",") for row in measure(name, options)]
    text = (
        "Members in a loop and side by side\n\n"
        f"Images of 32x32 pixels, batches of {options.batch_size}, float32, channels-last, four members, on "
        f"{options.device}, {options.rounds} rounds in which every network of a size ran once. *ms* is the least time, "
        "on a CPU of one thread's computing; *ratio* the median over rounds of the time over the single network's; "
        "*least* the same of the least times. *operations* are what a training step launches, forward and backward, "
        "views aside. *by hand* is the packed ensemble as one network of plain grouped layers."
    )
    write_table(rows, options.out / "forms.csv", text, names=3)


def measure(network: str, options: argparse.Namespace) -> list[dict]:
    """The rows of a network's methods and forms, the single network's first."""
    single, _ = method_on_cifar10("deterministic", *NETWORKS[network])
    contestants: dict[tuple[str, str], nn.Module] = {("deterministic", "single"): single}
    for name in options.methods.split(","):
        for form in ("loop", "grouped"):
            contestants[name, form], _ = method_on_cifar10(name, *NETWORKS[network])
            contestants[name, form].ensemble.form = form
        if name == "packed":
            contestants[name, "by hand"] = ByHand(contestants[name, "loop"])
    x, y = batch(options.batch_size, options.device)
    clock = time.thread_time if options.device == "cpu" else time.perf_counter
    timed = {key: Timed(each, x, lambda each=each: loss(each(x), y), clock) for key, each in contestants.items()}
    seconds = in_rounds(timed, options.rounds)
    return [row(network, key, seconds, operations(each.train(), x, y)) for key, each in contestants.items()]


def row(network: str, key: tuple[str, str], seconds: dict, launched: int) -> dict:
    cells = {"network": network, "method": key[0], "form": key[1]}
    for work in WORKS:
        alone, own = seconds[("deterministic", "single"), work], seconds[key, work]
        ratios = [mine / single for mine, single in zip(own, alone, strict=True)]
        cells |= {f"{work} ms": 1000 * min(own), f"{work} ratio": median(ratios)}
        cells[f"{work} least"] = min(own) / min(alone)
    return {**cells, "operations": launched}


def loss(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)))


def operations(network: nn.Module, x: Tensor, y: Tensor) -> int:
    """What a training step launches, forward and backward, views and allocations aside."""
    network.zero_grad()
    with Launched() as counted:
        loss(network(x), y).backward()
    return counted.number


class Launched(TorchDispatchMode):
    number = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.number += not (operation.is_view or operation._schema.name in ("aten::empty", "aten::new_empty_strided"))
        return operation(*args, **(kwargs or {}))


class ByHand(nn.Module):
    """A packed ensemble's shape as one network of grouped layers of its own: (B, C, H, W) -> (M, B, K)."""

    def __init__(self, packed: Method) -> None:
        super().__init__()
        self.M = packed.ensemble.M
        self.network = copy.deepcopy(packed.ensemble.networks[0])
        first = True
        for name, layer in list(self.network.named_modules()):
            if isinstance(layer, nn.Conv2d):
                inputs, groups = (layer.in_channels, 1) if first else (layer.in_channels * self.M, self.M)
                size = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
                own = nn.Conv2d(inputs, layer.out_channels * self.M, **size, groups=groups, bias=False)
                self.network.set_submodule(name, own)
                first = False
            elif isinstance(layer, nn.BatchNorm2d):
                self.network.set_submodule(name, nn.BatchNorm2d(layer.num_features * self.M))
            elif isinstance(layer, nn.Linear):
                self.network.set_submodule(name, Heads(self.M, layer.in_features, layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class Heads(nn.Module):
    """M linear layers on features side by side, (B, M F) -> (M, B, K)."""

    def __init__(self, M: int, features: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(M, features, outputs) / features**0.5)
        self.bias = nn.Parameter(torch.zeros(M, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x.unflatten(1, (len(self.weight), -1)).transpose(0, 1), self.weight)


if __name__ == "__main__":
    main()
