"""How much a table computes, and how long that takes: here by a short measurement, and on a GPU by an assumption.

Counting needs networks, and so torch: the counts of all tables are kept in work.json, and a machine's speed in its
cache.
"""

import json
import math
import os
import platform
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ensembles.files import write_text
from ensembles.papers.plan import Planned
from ensembles.papers.tables import Table

COUNTS = Path(__file__).with_name("work.json")
SPEED = Path("cache/speed.json")
GPU, GPU_SPEED = "an NVIDIA H100", 1e13  # multiply-adds a second in training, assumed
PASSES = 3  # of forward passes, what a training step costs
COPIES = 75  # of the test set, with the standard corruptions


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


def count(planned: Planned) -> float:
    """Multiply-adds of one of a row's runs, in training and evaluation."""
    config = planned.runs[0].config
    data, recipe = config["data"], config["recipe"]
    facts = FACTS.get(data["_target_"])
    if facts is None:  # numbers, not images: next to nothing
        return 0.0
    training = data["train_size"] or facts.training * (1 - data["val_fraction"])
    epochs = recipe["epochs"] * config["method"].get("batch_repetition", 1)
    smaller = ((data.get("train_image_size") or facts.training_pixels) / facts.training_pixels) ** 2
    copies = COPIES if data["corrupt"] else 0
    evaluated = facts.test + copies * (data["corrupted_size"] or facts.test)
    return _of_an_image(config, facts) * (PASSES * training * epochs * smaller + evaluated)


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
    """A table's name in work.json; at one scale there may be images or none."""
    images = any(row.overrides.get("data") == "image_folder" for row in table.rows)
    return table.slug + ("-images" if images else "")


def counts() -> dict[str, list[float]]:
    """Multiply-adds of one run of each row, by the tables' keys."""
    try:
        return json.loads(COUNTS.read_text())
    except FileNotFoundError:
        return {}


def keep(found: Mapping[str, list[float]]) -> None:
    lines = [f' "{name}": [{", ".join(f"{number:.2e}" for number in found[name])}]' for name in sorted(found)]
    write_text(COUNTS, "{\n" + ",\n".join(lines) + "\n}\n")


def hours(table: Table, seeds: int, speed: float) -> float | None:
    """Of a whole table, rows that are alike counted once; None where it has not been counted."""
    found = counts().get(key(table), [])
    if len(found) != len(table.rows):
        return None
    alike = {tuple(sorted(row.overrides.items())): number for row, number in zip(table.rows, found, strict=True)}
    return seeds * math.fsum(alike.values()) / speed / 3600


def machine_speed(again: bool = False) -> float:
    """Multiply-adds a second of training on this machine: measured once, then read from the cache."""
    machine = f"{platform.node()}, {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} threads"
    try:
        known = json.loads(SPEED.read_text())
    except (OSError, ValueError):
        known = {}
    if again or machine not in known:
        known[machine] = _measured()
        SPEED.parent.mkdir(parents=True, exist_ok=True)
        write_text(SPEED, json.dumps(known) + "\n")
    return known[machine]


def _measured(seconds: float = 3.0) -> float:
    """By training steps of a ResNet-18 on random images of 32x32 pixels."""
    import torch

    from ensembles import cost
    from ensembles.backbones import resnet18

    size = 32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = resnet18(10).to(device, memory_format=torch.channels_last)
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


def needs(table: Table) -> str:
    """The data sets, in the words of the overrides."""
    found: dict[str, None] = {}
    for row in table.rows:
        data = row.overrides.get("data", "")
        found[data] = None
        if row.overrides.get("data.corrupt") == "written":
            found[f"{data.partition('_')[0]}-C"] = None
        for key in ("data.ood_sets", "data.shift_sets"):
            found |= dict.fromkeys(row.overrides.get(key, "[]").strip("[]").split(","))
    return ", ".join(filter(None, found))
