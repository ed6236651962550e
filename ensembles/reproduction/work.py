"""How much the runs of a table or figure compute, about how long that takes, and what data they need.

Counting builds networks, and so needs torch: work.json keeps the counts, as row after row [multiply-adds of a run,
training steps, how many rows in turn have these]. ``python -m ensembles.reproduction.work`` counts all tables anew.
"""

import json
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from ensembles.files import write_text
from ensembles.papers import Table, load, names
from ensembles.papers.scales import SMALL, STUDY, Scale, study_row
from ensembles.recipes import CONFIGS
from ensembles.reports.paper_result import FULL
from ensembles.reproduction.running import Planned, plan

COUNTS = Path(__file__).with_name("work.json")
DATA = {  # classes, pixels of a side, training and test images
    "ensembles.data.cifar.CIFAR10": (10, 32, 50_000, 10_000),
    "ensembles.data.cifar.CIFAR100": (100, 32, 50_000, 10_000),
    "ensembles.data.imagenet.ImageNet": (1000, 224, 1_281_167, 50_000),
}
COPIES = 75  # of the test set, with the standard corruptions
PASSES = 3  # of forward passes, what a training step costs
TOGETHER = 20  # small networks that train at once in a drawing, whose step takes as long as a run's


class Speed(NamedTuple):
    """How fast a machine is assumed to train.

    Attributes:
        multiply_adds: in a second.
        step: seconds that each training step takes besides, however little it computes.
    """

    machine: str
    multiply_adds: float
    step: float


GPU, CPU = Speed("an NVIDIA H100", 1e13, 0.01), Speed("a CPU of 8 cores", 2e11, 0.005)


class Work(NamedTuple):
    """What one run of a row computes: multiply-adds in training and evaluation, and training steps."""

    multiply_adds: float
    steps: int

    def hours(self, speed: Speed) -> float:
        return (self.multiply_adds / speed.multiply_adds + self.steps * speed.step) / 3600


def count(planned: Planned, sets: int = 0) -> Work:
    """Count the work of a row's run.

    Args:
        sets: training sets on which the drawing trains the row's network too, on all at once.
    """
    config = planned.runs[0].config
    data, recipe = config["data"], config["recipe"]
    if data["_target_"] not in DATA:  # numbers, not images: next to nothing is computed in a step
        steps = recipe["epochs"] * max(1, data["train_size"] // recipe["batch_size"])
        return Work(0.0, round(steps * (1 + sets / TOGETHER)))
    classes, pixels, training, test = DATA[data["_target_"]]
    training = data["train_size"] or training * (1 - data["val_fraction"])
    images = training * recipe["epochs"] * config["method"].get("batch_repetition", 1)
    smaller = ((data.get("train_image_size") or pixels) / pixels) ** 2
    copies = COPIES if data["corrupted"]["source"] else 0
    spec = {"num_classes": classes, "in_channels": 3, "image_size": pixels}
    each = _multiply_adds(json.dumps({key: config[key] for key in ("method", "model")} | spec))
    steps = recipe["epochs"] * int(training / recipe["batch_size"])
    evaluated = test + copies * (data["corrupted"]["size"] or test)
    return Work(each * (PASSES * images * smaller + evaluated), steps)


@cache
def _multiply_adds(about: str) -> int:
    """Count those of one image; rows that differ in how a network is trained have the same."""
    import torch

    from ensembles import build, cost

    with torch.device("meta"):
        ensemble = build.method(json.loads(about)).ensemble
    return cost.multiply_adds(ensemble, ensemble.input_shape)


@cache
def counts() -> dict[str, list[Work]]:
    """Read the work of one run of each row, by the tables' names."""
    known = json.loads(COUNTS.read_text(encoding="utf-8"))
    return {name: [Work(*of) for *of, rows in found for _ in range(rows)] for name, found in known.items()}


def recount() -> None:
    """Count the work of all tables and figures at the papers' scale, and write it to work.json."""
    lines = []
    for name in names():
        table = load(name)
        sets = (table.drawing or {}).get("sets", 0)
        found = groupby(f"{of.multiply_adds:.2e}, {of.steps}" for of in (count(one, sets) for one in plan(table, 1)))
        lines.append(f' "{name}": [{", ".join(f"[{of}, {len([*rows])}]" for of, rows in found)}]')
    write_text(COUNTS, "{\n" + ",\n".join(lines) + "\n}\n")


def hours(table: Table, seeds: int, speed: Speed) -> float | None:
    """Estimate the hours of a table's rows with so many seeds, rows that are alike once; None if it was not counted."""
    found = counts().get(table.slug, [])
    if max((row.number for row in table.rows), default=0) > len(found):
        return None
    alike = {tuple(sorted(row.overrides.items())): found[row.number - 1] for row in table.rows}
    return seeds * sum(work.hours(speed) for work in alike.values())


def listing(tables: Sequence[Table], scale: Scale, seeds: int | None) -> RenderableType:
    """List tables at a scale, each with its rows and, at the papers' scale, with seeds, hours and data.

    Args:
        seeds: of a row, where the user says so.
    """
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for table in tables:
        grid.add_row(table.name, f"{table.cites}: {table.title}")
        grid.add_row("", _needs(table, scale, seeds or scale.seeds(table)), style="dim")
    if scale.name != FULL:
        return Group(grid, Text(f"\nAt {scale.name} scale, not the paper's setting."))
    says = (
        "Times are of all rows and seeds together, at assumed speeds in multiply-adds a second and for a step besides"
    )
    speeds = [f"{of.machine} {of.multiply_adds / 1e9:,.0f} G and {1000 * of.step:.0f} ms" for of in (CPU, GPU)]
    return Group(grid, Text(f"\n{says}: {', '.join(speeds)}."))


def _needs(table: Table, scale: Scale, seeds: int) -> str:
    """Say how many rows there are, and what they need."""
    rows = f"{len(table.rows)} rows"
    if not table.rows:
        return "computed directly, without runs"
    if scale.name == SMALL:
        known = 0 if table.is_figure else sum(study_row(row) is not None for row in table.rows)
        return f"{known} of {rows} with the runs of {STUDY.as_posix()}"
    if scale.name != FULL:
        return f"{rows}, seconds each"
    times = f"{duration(hours(table, seeds, CPU))} on a CPU, {duration(hours(table, seeds, GPU))} on a GPU"
    return f"{rows}, {seeds} seed{'s' * (seeds > 1)}; {times}; needs {', '.join(needs(table))}"


def duration(hours: float | None) -> str:
    """Write hours as 1,234 h, 1.2 h or 12 min."""
    if hours is None:
        return "? h"
    if hours < 1:
        return f"{60 * hours:.0f} min" if 60 * hours >= 1 else "under 1 min"
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"


def needs(table: Table) -> list[str]:
    """List the data sets, in the words of the overrides; imagenet for imagenet_a3, which reads the same files."""
    found: dict[str, None] = {}
    for row in table.rows:
        data, base = row.overrides.get("data", ""), row.overrides.get("data", "").partition("_")[0]
        data = base if (CONFIGS / "data" / f"{base}.yaml").is_file() else data
        found[data] = None
        if row.overrides.get("data.corrupted.source") == "written":
            found[f"{data}-C"] = None
        for key in ("data.ood_sets", "data.shift_sets"):
            found |= dict.fromkeys(row.overrides.get(key, "[]").strip("[]").split(","))
    return list(filter(None, found))


if __name__ == "__main__":
    recount()
