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
import csv
import platform
import re
import shlex
import sys
import time
from pathlib import Path
from statistics import median

import torch
from hydra import compose
from members_timing import Timed, batch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles import build
from ensembles.cli.composing import composing
from ensembles.methods import Method
from ensembles.processes import keep_freed_memory

NETWORKS = {  # from thin to wide
    "wrn16_1": ["model=wrn", "model.depth=16", "model.widen_factor=1"],
    "resnet18 x 1/4": ["model=resnet18", "model.width=0.25"],
    "resnet18": ["model=resnet18"],
}
METHODS = ("packed", "batch_ensemble", "mixture")
WORKS = ("predict", "train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = [row for name in options.networks.split(",") for row in measure(name, options)]
    write(rows, options)
    shown = Table(*rows[0])
    for cells in rows:
        shown.add_row(*map(text, cells.values()))
    Console().print(shown)


def measure(network: str, options: argparse.Namespace) -> list[dict]:
    """The rows of a network's methods and forms, the single network's first."""
    single = method("deterministic", network)
    contestants: dict[tuple[str, str], nn.Module] = {("deterministic", "single"): single}
    for name in options.methods.split(","):
        for form in ("loop", "grouped"):
            contestants[name, form] = method(name, network)
            contestants[name, form].ensemble.form = form
        if name == "packed":
            contestants[name, "by hand"] = ByHand(contestants[name, "loop"])
    x, y = batch(options.batch_size, options.device)
    clock = time.thread_time if options.device == "cpu" else time.perf_counter
    timed = {key: Timed(each, x, lambda each=each: loss(each(x), y), clock) for key, each in contestants.items()}
    seconds = {(key, work): [] for key in timed for work in WORKS}
    for round_ in range(options.rounds + 1):  # the first warms up
        for (key, work), times in seconds.items():
            taken = getattr(timed[key], work)()
            times += [taken] if round_ else []
    return [row(network, key, seconds, operations(each.train(), x, y)) for key, each in contestants.items()]


def row(network: str, key: tuple[str, str], seconds: dict, launched: int) -> dict:
    cells = {"network": network, "method": key[0], "form": key[1]}
    for work in WORKS:
        alone, own = seconds[("deterministic", "single"), work], seconds[key, work]
        ratios = [mine / single for mine, single in zip(own, alone, strict=True)]
        cells |= {f"{work} ms": 1000 * min(own), f"{work} ratio": median(ratios)}
        cells[f"{work} least"] = min(own) / min(alone)
    return {**cells, "operations": launched}


def method(name: str, network: str) -> Method:
    with composing():
        config = compose("train", [f"method={name}", "data=cifar10", *NETWORKS[network]])
    about = {group: OmegaConf.to_container(config[group], resolve=True) for group in ("method", "model")}
    return build.method({**about, "num_classes": 10, "in_channels": 3, "image_size": 32})


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


def write(rows: list[dict], options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "forms.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(
            {key: round(v, 4) if isinstance(v, float) else v for key, v in cells.items()} for cells in rows
        )
    lines = [
        "# Members in a loop and side by side",
        "",
        f"Written by `python {shlex.join(sys.argv)}`: images of 32x32 pixels, batches of {options.batch_size}, "
        f"float32, channels-last, four members, {options.rounds} rounds in which every network of a size ran once. "
        "*ms* is the least time, on a CPU of one thread's computing; *ratio* the median over rounds of the time over "
        "the single network's; *least* the same of the least times. *operations* are what a training step launches, "
        "forward and backward, views aside. *by hand* is the packed ensemble as one network of plain grouped layers.",
        "",
        f"Machine: {hardware(options.device)}; torch {torch.__version__}.",
        "",
        f"| {' | '.join(rows[0])} |",
        "| --- | --- | --- |" + " ---: |" * (len(rows[0]) - 3),
        *(f"| {' | '.join(map(text, cells.values()))} |" for cells in rows),
    ]
    (options.out / "forms.md").write_text("\n".join(lines) + "\n")


def text(cell: str | int | float) -> str:
    return (
        cell if isinstance(cell, str) else str(cell) if isinstance(cell, int) else f"{cell:.{0 if cell > 20 else 2}f}"
    )


def hardware(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.exists() else None
    return f"{found[1] if found else platform.processor()} ({torch.backends.cpu.get_cpu_capability()}), 1 thread"


if __name__ == "__main__":
    main()
