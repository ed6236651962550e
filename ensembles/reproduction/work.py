"""How much the runs of a table or figure compute, how long that takes on a machine, and what else they need.

Counting needs networks, and so torch: the counts of all tables and figures are kept in work.json.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from ensembles.files import write_text
from ensembles.papers import Table, load
from ensembles.papers.scales import SMALL, STUDY, Scale, study_row
from ensembles.recipes import CONFIGS
from ensembles.reproduction.running import Planned, plan

COUNTS = Path(__file__).with_name("work.json")
COPIES = 75  # of the test set, with the standard corruptions
TOGETHER = 20  # small networks that train at once in a drawing, whose step takes as long as a run's
PASSES = 3  # of forward passes, what a training step costs
KEPT = Path("cache/machine.json")
EPOCHS = 200  # of two steps, in the training that is timed


class Speed(NamedTuple):
    """How long training takes.

    Attributes:
        multiply_adds: in a second.
        step: seconds that each training step takes besides, however little it computes.
    """

    multiply_adds: float
    step: float


GPU, ASSUMED = "an NVIDIA H100", Speed(1e13, 0.01)


def here(again: bool = False) -> Speed:
    """This machine's, measured once."""
    machine = f"{platform.node()}, {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} threads"
    try:
        known = json.loads(KEPT.read_text())
    except (OSError, ValueError):
        known = {}
    if again or machine not in known:
        print("Timing this machine, for half a minute at the most", flush=True)
        known[machine] = Speed(_speed(), _step())
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        write_text(KEPT, json.dumps(known) + "\n")
    return Speed(*known[machine])


def _speed(seconds: float = 3.0) -> float:
    """By training steps of a ResNet-18 on random images of 32x32 pixels."""
    import torch

    from ensembles import cost
    from ensembles.backbones import resnet18
    from ensembles.methods.layers import channels_last

    size = 32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = channels_last(resnet18(10).to(device))
    images = torch.randn(size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    each = cost.multiply_adds(network, images.shape[1:])
    steps, started, elapsed = 0, 0.0, 0.0
    while elapsed < seconds:
        network(images).logsumexp(1).sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        if steps == 0:
            started = time.perf_counter()  # the first step does what later ones need not
        else:
            elapsed = time.perf_counter() - started
        steps += 1
    return PASSES * each * size * (steps - 1) / elapsed


def _step() -> float:
    """By a run with the regression's MLP, which computes next to nothing."""
    from ensembles.experiment import fit_and_test

    figure = load("mimo/figure2")
    with tempfile.TemporaryDirectory() as folder:
        short = [f"runs_dir={folder}", f"recipe.epochs={EPOCHS}", "runtime.progress=false"]
        ((run,),) = (entry.runs for entry in plan(replace(figure, rows=figure.rows[:1]), 1, short))
        with run.opened():
            fit_and_test(run)
        return json.loads(run.provenance_file.read_text())["seconds"]["train"] / (2 * EPOCHS)


class Facts(NamedTuple):
    """A data set in numbers."""

    classes: int
    channels: int
    pixels: int
    training: int
    test: int
    training_pixels: int


CIFAR10 = Facts(10, 3, 32, 50_000, 10_000, 32)
FACTS = {
    "ensembles.data.cifar.CIFAR10": CIFAR10,
    "ensembles.data.cifar.CIFAR100": CIFAR10._replace(classes=100),
    "ensembles.data.folder.ImageFolder": CIFAR10,
    "ensembles.data.digits.Digits": Facts(10, 1, 8, 1_437, 360, 8),
    "ensembles.data.imagenet.ImageNet": Facts(1000, 3, 224, 1_281_167, 50_000, 224),
}


class Work(NamedTuple):
    """Of one run of a row.

    Attributes:
        multiply_adds: in training and evaluation.
        steps: of training.
    """

    multiply_adds: float
    steps: int

    def hours(self, speed: Speed) -> float:
        return (self.multiply_adds / speed.multiply_adds + self.steps * speed.step) / 3600


def count(planned: Planned, sets: int = 0) -> Work:
    """The work of a row's run.

    Args:
        sets: training sets on which the drawing trains the row's network too, on all at once.
    """
    config = planned.runs[0].config
    data, recipe = config["data"], config["recipe"]
    facts = FACTS.get(data["_target_"])
    training = data["train_size"] or (facts.training * (1 - data["val_fraction"]) if facts else 0)
    steps = recipe["epochs"] * max(1, int(training / recipe["batch_size"]))
    if facts is None:  # numbers, not images: next to nothing is computed in a step
        return Work(0.0, round(steps * (1 + sets / TOGETHER)))
    images = training * recipe["epochs"] * config["method"].get("batch_repetition", 1)
    smaller = ((data.get("train_image_size") or facts.training_pixels) / facts.training_pixels) ** 2
    copies = COPIES if data["corrupted"]["source"] else 0
    evaluated = facts.test + copies * (data["corrupted"]["size"] or facts.test)
    return Work(_of_an_image(config, facts) * (PASSES * images * smaller + evaluated), steps)


def _of_an_image(config: Mapping, facts: Facts) -> int:
    spec = {key: dict(config[key]) for key in ("method", "model")}
    spec |= {"num_classes": facts.classes, "in_channels": facts.channels, "image_size": facts.pixels}
    return _multiply_adds(json.dumps(spec))


@cache
def _multiply_adds(spec: str) -> int:
    """Of a description; rows that differ in how a network is trained have the same."""
    import torch

    from ensembles import build, cost

    with torch.device("meta"):
        ensemble = build.method(json.loads(spec)).ensemble
    return cost.multiply_adds(ensemble, ensemble.input_shape)


@cache
def counts() -> dict[str, list[Work]]:
    """The work of one run of each row, by the tables' keys."""
    try:
        return {name: [Work(*pair) for pair in found] for name, found in json.loads(COUNTS.read_text()).items()}
    except FileNotFoundError:
        return {}


def count_anew(tables: Sequence[Table], arguments: Sequence[str] = ()) -> None:
    """Count the tables' work and keep it in work.json, beside that of the others."""
    found = dict(counts())
    for table in tables:
        print(f"counting {table.slug}", flush=True)
        sets = (table.drawing or {}).get("sets", 0)
        found[table.slug] = [count(entry, sets) for entry in plan(table, 1, arguments)]
    lines = [
        f' "{name}": [{", ".join(f"[{of.multiply_adds:.2e}, {of.steps}]" for of in found[name])}]'
        for name in sorted(found)
    ]
    write_text(COUNTS, "{\n" + ",\n".join(lines) + "\n}\n")
    counts.cache_clear()


def hours(table: Table, seeds: int, speed: Speed) -> float | None:
    """Of a whole table, rows that are alike counted once; None where it has not been counted."""
    found = counts().get(table.slug, [])
    if len(found) != len(table.rows):
        return None
    alike = {tuple(sorted(row.overrides.items())): of for row, of in zip(table.rows, found, strict=True)}
    return seeds * sum(of.hours(speed) for of in alike.values())


def listing(tables: Sequence[Table], scale: Scale, seeds: int | None, here: Speed | None) -> RenderableType:
    """Each with its rows and, at the papers' scale, with seeds, hours and data.

    Args:
        tables: at the scale.
        seeds: of a row, where the user says so.
        here: this machine's speed; None at another scale.
    """
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for table in tables:
        runs = seeds or scale.seeds(table)
        grid.add_row(table.name, f"{table.cites}: {table.title}")
        if table.rows and scale.name == SMALL:
            known = sum(study_row(row) is not None for row in table.rows) * (not table.is_figure)
            grid.add_row("", f"{known} of {len(table.rows)} rows with the runs of {STUDY.as_posix()}", style="dim")
        elif table.rows and here is None:
            grid.add_row("", f"{len(table.rows)} rows, seconds each", style="dim")
        elif table.rows:
            size = f"{len(table.rows)} rows, {runs} {'seed' if runs == 1 else 'seeds'}"
            times = f"{duration(hours(table, runs, here))} here, {duration(hours(table, runs, ASSUMED))} on a GPU"
            grid.add_row("", f"{size}; {times}; needs {', '.join(needs(table))}", style="dim")
        else:
            grid.add_row("", "computed directly, without runs", style="dim")
    if here is None:
        return Group(grid, Text(f"\nAt {scale.name} scale, not the paper's setting."))
    says = (
        f"Times are of all rows and seeds together, from their multiply-adds and training steps: "
        f"here at {_at(here)}, as measured in training a ResNet-18 and an MLP; "
        f"on a GPU at an assumed {_at(ASSUMED)}, for {GPU}."
    )
    return Group(grid, Text(f"\n{says}"))


def _at(speed: Speed) -> str:
    return f"{speed.multiply_adds / 1e9:,.0f} G multiply-adds a second and {1000 * speed.step:.0f} ms a step besides"


def duration(hours: float | None) -> str:
    """1,234 h, 1.2 h, 12 min."""
    if hours is None:
        return "? h"
    if hours < 1:
        return f"{60 * hours:.0f} min" if 60 * hours >= 1 else "under 1 min"
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"


def needs(table: Table) -> list[str]:
    """The data sets, in the words of the overrides."""
    found: dict[str, None] = {}
    for row in table.rows:
        data = _plain(row.overrides.get("data", ""))
        found[data] = None
        if row.overrides.get("data.corrupted.source") == "written":
            found[f"{data}-C"] = None
        for key in ("data.ood_sets", "data.shift_sets"):
            found |= dict.fromkeys(row.overrides.get(key, "[]").strip("[]").split(","))
    return list(filter(None, found))


def _plain(data: str) -> str:
    """imagenet for imagenet_a3, which reads the same files."""
    base = data.partition("_")[0]
    return base if (CONFIGS / "data" / f"{base}.yaml").is_file() else data
