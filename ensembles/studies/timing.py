"""What a study's rows take to train a step and to predict, beside one another, in the reference row's."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from ensembles import build
from ensembles.analysis.speed import Steps, steps_of, timed, untrained
from ensembles.errors import UserError
from ensembles.files import load_json, write_text
from ensembles.processes import keep_freed_memory
from ensembles.provenance import hardware
from ensembles.rng import generator
from ensembles.studies.collection import TIMES_FILE, read_times
from ensembles.studies.study import Study
from ensembles.training.trainer import attention_kernels

SHAPE, CLASSES = (3, 32, 32), 10
WORK = {"train": "training", "predict": "inference"}  # as times.json has it


def times(folder: Path, study: Study, rows: Sequence[str], rounds: int) -> None:
    """Time each row once a round, on one batch of its recipe, and write the medians of the rounds' ratios.

    A training step is in the row's precision, a prediction in float32. A step's FLOPs (forward and backward) are
    counted too, and the share of a batch that each member sees. The times of other rows are kept.

    Raises:
        UserError: times of other rows that are of another machine.
    """
    kept = {row: of for row, of in read_times(folder).items() if row in study.rows and row not in rows}
    kept.pop(study.reference, None)
    if kept and (machine := load_json(folder / TIMES_FILE).get("hardware")) != hardware():
        raise UserError(
            f"{folder / TIMES_FILE} has times of {', '.join(kept)} on {machine}, not on {hardware()}: time all rows."
        )
    keep_freed_memory()
    steps, seen = {}, {}
    for row in dict.fromkeys([study.reference, *rows]):
        steps[row], seen[row] = _steps(study.run(row, 0).config)
    flops = {row: _flops(of) for row, of in steps.items()}
    seconds = timed(steps, rounds)
    reference = {work: seconds[study.reference, step] for work, step in WORK.items()}
    ratios = {
        row: {
            work: median(a / b for a, b in zip(seconds[row, step], reference[work], strict=True))
            for work, step in WORK.items()
        }
        | {"train_flops": flops[row] / flops[study.reference], "seen": seen[row]}
        for row in steps
    }
    about = {"hardware": hardware(), "rounds": rounds}
    about["seconds"] = {work: round(median(of), 4) for work, of in reference.items()}
    found = {row: of for row in study.rows if (of := ratios.get(row) or kept.get(row))}
    write_text(folder / TIMES_FILE, json.dumps(about | {"rows": found}, indent=1) + "\n")


def _flops(steps: Steps) -> int:
    with FlopCounterMode(display=False) as counter:
        steps["training"]()
    return counter.get_total_flops()


def _steps(config: dict) -> tuple[Steps, float]:
    """Make a run's steps, and count the share of a batch that a member sees."""
    method, size = untrained(config, SHAPE, CLASSES), build.call(config["recipe"]).batch_size
    x = torch.randn(size, *SHAPE).contiguous(memory_format=torch.channels_last)
    y = torch.randint(CLASSES, (size,))
    dealt = method.deal.of_one_batch(size, generator(0))
    batch = (x, y) if dealt.dim() == 1 else (x[dealt], y[dealt])

    @contextmanager
    def as_trained() -> Iterator[None]:
        half = config["trainer"]["precision"] == "bf16-mixed"
        with attention_kernels(OmegaConf.create(config)), torch.autocast("cpu", torch.bfloat16, enabled=half):
            yield

    return steps_of(method, *batch, x, as_trained), dealt.shape[-1] / size
