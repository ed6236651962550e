"""How much the runs of a table or figure compute, and how long that takes on a machine.

Counting needs networks, and so torch: the counts of all tables and figures are kept in work.json.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ensembles.files import write_text
from ensembles.papers.machine import PASSES, Speed
from ensembles.papers.plan import Planned, plan
from ensembles.papers.tables import Table
from ensembles.reports.entry import FULL

COUNTS = Path(__file__).with_name("work.json")
COPIES = 75  # of the test set, with the standard corruptions
TOGETHER = 20  # small networks that train at once in a drawing, whose step takes as long as a run's


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
    "ensembles.data.folder.ImageFolder": CIFAR10,  # the stand-in
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
    copies = COPIES if data["corrupt"] else 0
    evaluated = facts.test + copies * (data["corrupted_size"] or facts.test)
    return Work(_of_an_image(config, facts) * (PASSES * images * smaller + evaluated), steps)


def _of_an_image(config: Mapping, facts: Facts) -> int:
    about = {key: dict(config[key]) for key in ("method", "model")}
    about |= {"num_classes": facts.classes, "in_channels": facts.channels, "image_size": facts.pixels}
    return _multiply_adds(json.dumps(about))


@cache
def _multiply_adds(about: str) -> int:
    """Of a description; rows that differ in how a network is trained have the same."""
    import torch

    from ensembles import build, cost

    with torch.device("meta"):
        ensemble = build.method(json.loads(about)).ensemble
    return cost.multiply_adds(ensemble, ensemble.input_shape)


def key(table: Table) -> str:
    """A table's name in work.json; at one scale the stand-in may be images or none."""
    images = table.scale != FULL and any(row.overrides.get("data") == "image_folder" for row in table.rows)
    return table.slug + ("-images" if images else "")


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
        found[key(table)] = [count(entry, sets) for entry in plan(table, 1, arguments)]
    lines = [
        f' "{name}": [{", ".join(f"[{of.multiply_adds:.2e}, {of.steps}]" for of in found[name])}]'
        for name in sorted(found)
    ]
    write_text(COUNTS, "{\n" + ",\n".join(lines) + "\n}\n")
    counts.cache_clear()


def hours(table: Table, seeds: int, speed: Speed) -> float | None:
    """Of a whole table, rows that are alike counted once; None where it has not been counted."""
    found = counts().get(key(table), [])
    if len(found) != len(table.rows):
        return None
    alike = {tuple(sorted(row.overrides.items())): of for row, of in zip(table.rows, found, strict=True)}
    return seeds * sum(of.hours(speed) for of in alike.values())
