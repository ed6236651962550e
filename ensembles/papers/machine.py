"""How fast a machine trains: this one by a short measurement, which is kept, and a GPU by an assumption."""

import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ensembles.files import write_text
from ensembles.papers.plan import plan
from ensembles.papers.reading import load

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
        known[machine] = Speed(_multiply_adds(), _step())
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        write_text(KEPT, json.dumps(known) + "\n")
    return Speed(*known[machine])


def _multiply_adds(seconds: float = 3.0) -> float:
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
    from ensembles.experiment import work

    figure = load("mimo/figure2")
    with tempfile.TemporaryDirectory() as folder:
        short = [f"runs_dir={folder}", f"recipe.epochs={EPOCHS}", "trainer.progress=false"]
        ((run,),) = (entry.runs for entry in plan(replace(figure, rows=figure.rows[:1]), 1, short))
        with run.opened():
            work(run.config, run)
        return json.loads(run.provenance_file.read_text())["seconds"]["train"] / (2 * EPOCHS)
