"""How many passes of the single network every method takes to predict and to train a step, on a ResNet-18.

    python benchmarks/members.py
    python benchmarks/members.py --reference-python VENV/bin/python

Each round times every network once, so that what else the machine does falls on all alike. A ratio is to the single
network's time in the same round; the table has medians over the rounds. The other Python, if given, has
torch-uncertainty, whose networks are timed in the same rounds. Writes ``members.csv`` and ``members.md`` to ``--out``.
"""

import argparse
import csv
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import torch
from hydra import compose
from members_timing import Timed, batch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles import build, cost
from ensembles.cli.composing import composing
from ensembles.processes import keep_freed_memory
from ensembles.recipes import CONFIGS
from ensembles.rng import generator

INPUT = (3, 32, 32)
WORKS = ("predict", "train")
SINGLE = ("deterministic", "ensembles")
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}  # as keep_freed_memory sets them
Clock = Callable[[str], float]  # one of WORKS -> seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(path.stem for path in sorted(CONFIGS.glob("method/*.yaml"))))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reference-python", help="a Python that has torch-uncertainty")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    clocks: dict[tuple[str, str], Clock] = {}
    passes: dict[tuple[str, str], dict[str, float]] = {}
    for name in dict.fromkeys([SINGLE[0], *options.methods.split(",")]):
        clocks[name, "ensembles"], passes[name, "ensembles"] = ours(name, options.batch_size, options.device)
    if options.reference_python:
        clocks |= reference(options)
    seconds = measure(clocks, options.rounds)
    rows = [row(key, seconds, passes.get(key, {})) for key in clocks]
    write(rows, options)
    Console().print(table(rows))


def ours(name: str, batch_size: int, device: str) -> tuple[Clock, dict[str, float]]:
    """A method's clock, and how many of the backbone's passes its multiply-adds come to."""
    with composing():
        config = compose("train", [f"method={name}", "model=resnet18", "data=cifar10"])
    about = {group: OmegaConf.to_container(config[group], resolve=True) for group in ("method", "model")}
    about |= {"num_classes": 10, "in_channels": INPUT[0], "image_size": INPUT[1]}
    method = build.method(about).to(device)
    x, y = batch(batch_size, device)
    dealt = method.deal.of_one_batch(batch_size, generator(0)).to(device)
    seen, labels = (x, y) if dealt.dim() == 1 else (x[dealt], y[dealt])
    timed = Timed(method, x, lambda: method.loss(method(seen), labels))
    per_input = cost.multiply_adds(method.ensemble, INPUT) / cost.multiply_adds(build.backbone(about)(), INPUT)
    return lambda work: getattr(timed, work)(), {
        "predict": per_input,
        "train": per_input * dealt.shape[-1] / batch_size,
    }


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


def measure(clocks: dict[tuple[str, str], Clock], rounds: int) -> dict[tuple[tuple[str, str], str], list[float]]:
    seconds = {(key, work): [] for key in clocks for work in WORKS}
    for round_ in range(rounds + 1):  # the first warms up
        for (key, work), times in seconds.items():
            time = clocks[key](work)
            if round_:
                times.append(time)
    return seconds


def row(key: tuple[str, str], seconds: dict, passes: dict[str, float]) -> dict:
    cells = {"method": key[0], "library": key[1]}
    for work in WORKS:
        times = seconds[key, work]
        ratios = [own / single for own, single in zip(times, seconds[SINGLE, work], strict=True)]
        low, _, high = quantiles(ratios) if len(ratios) > 1 else ratios * 3
        cells |= {f"{work}_passes": passes.get(work, ""), f"{work}_ms": 1000 * median(times)}
        cells |= {f"{work}_ratio": median(ratios), f"{work}_low": low, f"{work}_high": high}
    return cells


def table(rows: list[dict]) -> Table:
    shown = Table("method", "library", *(column for work in WORKS for column in columns(work)))
    for cells in rows:
        shown.add_row(*texts(cells))
    return shown


def columns(work: str) -> tuple[str, ...]:
    return (f"{work}: passes", "ms", "times the single network (quartiles)")


def texts(cells: dict) -> list[str]:
    shown = [cells["method"], cells["library"]]
    for work in WORKS:
        passes, ms, ratio, low, high = (cells[f"{work}_{key}"] for key in ("passes", "ms", "ratio", "low", "high"))
        shown += [f"{passes:.2f}" if passes else "", f"{ms:.0f}", f"{ratio:.2f} ({low:.2f}-{high:.2f})"]
    return shown


def write(rows: list[dict], options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "members.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(
            {key: round(cell, 4) if isinstance(cell, float) else cell for key, cell in cells.items()} for cells in rows
        )
    heads = ["method", "library", *(column for work in WORKS for column in columns(work))]
    lines = [
        "# What members cost",
        "",
        f"Written by `python {shlex.join(sys.argv)}`: ResNet-18 on 32x32 images, batch {options.batch_size}, float32, "
        f"channels-last, medians over {options.rounds} rounds in which every network ran once. *Passes* are the "
        "backbone's, by multiply-adds; a training step is forward, backward and an SGD update on what the method "
        "deals of the batch.",
        "",
        f"Machine: {hardware(options)}; torch {torch.__version__}.",
        "",
        f"| {' | '.join(heads)} |",
        "| --- | --- |" + " ---: |" * (len(heads) - 2),
        *(f"| {' | '.join(texts(cells))} |" for cells in rows),
    ]
    (options.out / "members.md").write_text("\n".join(lines) + "\n")


def hardware(options: argparse.Namespace) -> str:
    if options.device != "cpu":
        return torch.cuda.get_device_name(options.device)
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M) if _is_linux() else None
    return f"{found[1] if found else platform.processor()}, {options.threads} threads"


def _is_linux() -> bool:
    return platform.system() == "Linux"


if __name__ == "__main__":
    main()
