"""What benchmarks share: work timed in turns, and tables with the command and the machine that they come from."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra import compose
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles import build
from ensembles.cli.composing import composing
from ensembles.methods import Method
from ensembles.provenance import command, hardware


def argument_parser(doc: str, out: str = "results/benchmarks") -> argparse.ArgumentParser:
    """Make a parser with ``--out``, whose help is the program's docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def method_on_cifar10(name: str, *overrides: str) -> tuple[Method, dict]:
    """Build a method with its default settings, for images as CIFAR-10's, and say what describes it."""
    with composing():
        config = compose("train", [f"method={name}", "data=cifar10", *overrides])
    about = {group: OmegaConf.to_container(config[group], resolve=True) for group in ("method", "model")}
    about |= {"num_classes": 10, "in_channels": 3, "image_size": 32}
    return build.method(about), about


def random_pieces(number: int, height: int, width: int) -> list[np.ndarray]:
    """Cut pieces (H, W, 3) out of scikit-learn's two sample photographs, the same in each run."""
    photographs, drawing = load_sample_images().images, np.random.default_rng(0)
    whole = photographs[0].shape[:2]
    corners = drawing.integers(0, (whole[0] - height + 1, whole[1] - width + 1), (number, 2))
    return [photographs[k % 2][top : top + height, left : left + width] for k, (top, left) in enumerate(corners)]


def clocks() -> tuple[float, float]:
    """Read seconds by the clock, and those that this process and its children that have ended had on a processor."""
    return time.perf_counter(), time.process_time() + sum(os.times()[2:4])


def fastest(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, ...]]:
    """Time works in turn, so that what else the machine does falls on all alike: the least of each of the `clocks`."""
    best = dict.fromkeys(works, (float("inf"),) * 2)
    for _ in range(rounds):
        for name, work in works.items():
            began = clocks()
            work()
            spent = (now - start for now, start in zip(clocks(), began, strict=True))
            best[name] = tuple(map(min, best[name], spent))
    return best


def shown(value: object) -> str:
    """Write a number as it stands in a table; None, which says that there is none, as nothing."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value > 20 else f"{value:.2f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def markdown(rows: Sequence[Mapping], names: int = 1) -> str:
    """Write rows as a Markdown table, whose first columns, so many, are names."""
    lines = [list(map(str, rows[0])), ["---"] * names + ["---:"] * (len(rows[0]) - names)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*lines, *(map(shown, row.values()) for row in rows)])


def write_csv(rows: Sequence[Mapping], path: Path) -> str:
    """Write rows to a CSV, below the command and the machine, which are returned for other texts."""
    origin = f"{command()}\n{hardware()}; torch {torch.__version__}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.write("".join(f"# {line}\n" for line in origin.splitlines()))
        pd.DataFrame(rows).round(4).to_csv(file, index=False)
    return origin


def write_table(rows: Sequence[Mapping], path: Path, text: str = "", names: int = 1) -> None:
    """Print rows and write them to a CSV; with a text (a title and what the numbers are) also as Markdown beside it."""
    command, machine = write_csv(rows, path).splitlines()
    if text:
        page = f"# {text}\n\nCommand: `{command}`. Machine: {machine}.\n\n{markdown(rows, names)}\n"
        path.with_suffix(".md").write_text(page)
    table = Table(*map(str, rows[0]))
    for row in rows:
        table.add_row(*map(shown, row.values()))
    Console().print(table)
