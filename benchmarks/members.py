"""How many passes of the single network every method takes to predict and to train a step, on a ResNet-18.

    python benchmarks/members.py
    python benchmarks/members.py --reference-python VENV/bin/python

Each round times every network once, so that what else the machine does falls on all alike. A ratio is to the single
network's time in the same round; the table has medians over the rounds. The other Python, if given, has
torch-uncertainty, whose networks are timed in the same rounds. Writes ``members.csv`` and ``members.md`` to ``--out``.
"""

import argparse
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import torch
from common import argument_parser, method_on_cifar10, write_table
from members_timing import WORKS, Timed, batch, in_rounds

from ensembles import build, cost
from ensembles.processes import keep_freed_memory
from ensembles.recipes import CONFIGS
from ensembles.rng import generator

INPUT = (3, 32, 32)
SINGLE = ("deterministic", "ensembles")
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}  # as keep_freed_memory sets them
Clock = Callable[[str], float]  # one of WORKS -> seconds


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--methods", default=",".join(path.stem for path in sorted(CONFIGS.glob("method/*.yaml"))))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reference-python", help="a Python that has torch-uncertainty")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    clocks: dict[tuple[str, str], Clock] = {}
    passes: dict[tuple[str, str], dict[str, float]] = {}
    for name in dict.fromkeys([SINGLE[0], *options.methods.split(",")]):
        clocks[name, "ensembles"], passes[name, "ensembles"] = ours(name, options.batch_size, options.device)
    if options.reference_python:
        clocks |= reference(options)
    seconds = in_rounds(clocks, options.rounds)
    rows = [row(key, seconds, passes.get(key, {})) for key in clocks]
    text = (
        f"What members cost\n\nResNet-18 on 32x32 images, batch {options.batch_size}, float32, channels-last, on "
        f"{options.device}, medians over {options.rounds} rounds in which every network ran once. *Passes* are the "
        "backbone's, by multiply-adds; *ratio* is the time over the single network's in the same round, *low* and "
        "*high* its quartiles; a training step is forward, backward and an SGD update on what the method deals of the "
        "batch."
    )
    write_table(rows, options.out / "members.csv", text, names=2)


def ours(name: str, batch_size: int, device: str) -> tuple[Clock, dict[str, float]]:
    """A method's clock, and how many of the backbone's passes its multiply-adds come to."""
    method, about = method_on_cifar10(name, "model=resnet18")
    method = method.to(device)
    x, y = batch(batch_size, device)
    dealt = method.deal.of_one_batch(batch_size, generator(0)).to(device)
    seen, labels = (x, y) if dealt.dim() == 1 else (x[dealt], y[dealt])
    timed = Timed(method, x, lambda: method.loss(method(seen), labels))
    per_input = cost.multiply_adds(method.ensemble, INPUT) / cost.multiply_adds(build.backbone(about)(), INPUT)
    return timed, {"predict": per_input, "train": per_input * dealt.shape[-1] / batch_size}


def reference(options: argparse.Namespace) -> dict[tuple[str, str], Clock]:
    """torch-uncertainty's clocks, in a process of its own."""
    script = Path(__file__).with_name("members_reference.py")
    arguments = [str(options.batch_size), str(options.threads), options.device]
    process = subprocess.Popen(
        [options.reference_python, str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | KEEPING,
    )

    def clock(name: str) -> Clock:
        def seconds(work: str) -> float:
            print(name, work, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        return seconds

    return {(name, "torch-uncertainty"): clock(name) for name in process.stdout.readline().split()}


def row(key: tuple[str, str], seconds: dict, passes: dict[str, float]) -> dict:
    cells = {"method": key[0], "library": key[1]}
    for work in WORKS:
        times = seconds[key, work]
        ratios = [own / single for own, single in zip(times, seconds[SINGLE, work], strict=True)]
        low, _, high = quantiles(ratios) if len(ratios) > 1 else ratios * 3
        cells |= {f"{work}_passes": passes.get(work), f"{work}_ms": 1000 * median(times)}
        cells |= {f"{work}_ratio": median(ratios), f"{work}_low": low, f"{work}_high": high}
    return cells


if __name__ == "__main__":
    main()
