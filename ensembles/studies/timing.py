"""What a study's rows take to train a step and to predict, beside one another, in the reference row's."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from ensembles import build
from ensembles.files import write_text
from ensembles.processes import keep_freed_memory
from ensembles.provenance import hardware
from ensembles.rng import generator
from ensembles.studies.collection import TIMES_FILE
from ensembles.studies.study import Study

INPUT, CLASSES = (3, 32, 32), 10


def times(folder: Path, study: Study, rows: Sequence[str], rounds: int) -> None:
    """Time each row once a round, on one batch of its recipe, and write the medians of the rounds' ratios.

    A training step's FLOPs (forward and backward) are counted too, and the share of a batch that each member sees.
    """
    keep_freed_memory()
    clocks = {row: _clocks(study.run(row, 0).config) for row in dict.fromkeys([study.reference, *rows])}
    flops = {row: _flops(of["train"]) for row, of in clocks.items()}
    seconds = {(row, work): [] for row in clocks for work in ("train", "predict")}
    for round_ in range(rounds + 1):  # the first warms up
        for (row, work), found in seconds.items():
            started = time.perf_counter()
            clocks[row][work]()
            if round_:
                found.append(time.perf_counter() - started)
    ratios = {
        row: {
            work: median(a / b for a, b in zip(seconds[row, work], seconds[study.reference, work], strict=True))
            for work in ("train", "predict")
        }
        | {"train_flops": flops[row] / flops[study.reference], "seen": clocks[row]["seen"]}
        for row in clocks
    }
    about = {
        "hardware": hardware(),
        "rounds": rounds,
        "seconds": {work: round(median(seconds[study.reference, work]), 4) for work in ("train", "predict")},
    }
    write_text(folder / TIMES_FILE, json.dumps(about | {"rows": ratios}, indent=1) + "\n")


def _flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def _clocks(config: Mapping) -> dict:
    """A run's training step in its precision, its prediction in float32, and the share of a batch a member sees."""
    about = {"method": config["method"], "model": config["model"]}
    method = build.method(about | {"num_classes": CLASSES, "in_channels": INPUT[0], "image_size": INPUT[1]})
    recipe = build.call(config["recipe"])
    size = recipe.batch_size
    x = torch.randn(size, *INPUT).contiguous(memory_format=torch.channels_last)
    y = torch.randint(CLASSES, (size,))
    dealt = method.deal.of_one_batch(size, generator(0))
    seen, labels = (x, y) if dealt.dim() == 1 else (x[dealt], y[dealt])
    optimizer = torch.optim.SGD(method.parameters(), lr=1e-3, momentum=0.9)
    half = config["trainer"]["precision"] == "bf16-mixed"

    def train() -> None:
        method.train()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            loss = method.loss(method(seen), labels)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def predict() -> None:
        method.eval()
        method(x)

    return {"train": train, "predict": predict, "seen": dealt.shape[-1] / size}
