"""Every method trained on 1, 2 and 3 processes: the same losses and metrics.

    python benchmarks/processes.py

writes results/processes/losses.csv and README.md. It takes about ten minutes of a CPU's core.
"""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common import argument_parser, markdown

from ensembles.cli.composing import checked
from ensembles.cli.overrides import combinations
from ensembles.files import write_rows, write_text
from ensembles.processes import launch
from ensembles.recipes import CONFIGS
from ensembles.runs import Run

PROCESSES = (1, 2, 3)
METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
NETWORKS = {
    "SmallCNN, no batch norm": ["model=small_cnn"],
    "WRN-10-1, ghost batches of 8": ["model=wrn", "model.depth=10", "model.ghost_batch=8"],
}
ORDINARY = {"WRN-10-1, ordinary batch norm": ["model=wrn", "model.depth=10"]}
SETTINGS = {"mixture": ["method.grouping=flat"], "dropout": ["method.samples=3"]}
COMMON = [
    "recipe.epochs=5",
    "recipe.batch_size=48",
    "recipe.optimizer.lr=0.02",
    "data.train_size=480",
    "data.corrupted.source=null",
    "test_on=last",
    "trainer.accelerator=cpu",
    "runtime.progress=false",
    "strategy=ddp",
]
METRICS = {"test/acc": "accuracy", "test/nll": "NLL", "test/ece": "ECE", "ood/photos/entropy/auroc": "AUROC"}


NUDGE = 2**-24  # of each weight, relative and at random: what rounding a number once may change


class Trained(NamedTuple):
    """A method on a network: for each number of processes its losses, epoch by epoch, and its metrics.

    Attributes:
        nudged: losses on one process from a start that is rounded otherwise.
    """

    network: str
    method: str
    losses: list[list[float]]
    results: list[dict]
    nudged: list[float]


def cases() -> Iterator[tuple[str, str, list[str]]]:
    """Network, method and overrides of each training."""
    for network, model in NETWORKS.items():
        for method in METHODS:
            yield network, method, [*model, f"method={method}", *SETTINGS.get(method, ()), *COMMON]
    for network, model in ORDINARY.items():
        yield network, "deterministic", [*model, "method=deterministic", *COMMON]


def runs(processes: int, folder: Path) -> list[Run]:
    """The runs of all cases on so many processes, in a folder of theirs."""
    found = []
    for _, _, overrides in cases():
        ((_, config),) = combinations([*overrides, f"trainer.devices={processes}", f"runs_dir={folder}"])
        found.append(Run.of(checked(config), config.hydra.runtime.choices))
    return found


def train(planned: list[Run], nudge: float = 0) -> None:
    """What each process does: all runs, one after another."""
    import torch

    from ensembles import build, experiment

    torch.set_num_threads(1)
    as_it_is = build.method

    def nudged(about: dict) -> torch.nn.Module:
        method = as_it_is(about)
        for parameter in method.parameters():
            parameter.data.mul_(1 + nudge * torch.randn_like(parameter))
        return method

    build.method = nudged if nudge else as_it_is
    try:
        for run in planned:
            if run.results() is None:
                run.folder.mkdir(parents=True, exist_ok=True)
                experiment.fit_and_test(run)
    finally:
        build.method = as_it_is


def losses(run: Run) -> list[float]:
    """The mean over each epoch's steps."""
    with open(run.history) as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


def apart(curve: list[float], other: list[float]) -> float:
    """The largest relative difference."""
    return max(abs(a / b - 1) for a, b in zip(curve, other, strict=True))


def table(trained: list[Trained]) -> list[dict]:
    """Final losses and metrics, and the largest differences."""
    rows = []
    for case in trained:
        measured = max(abs(found[key] - case.results[0][key]) for found in case.results for key in METRICS)
        row = {"network": case.network, "method": case.method}
        row["loss"] = " / ".join(f"{curve[-1]:.5f}" for curve in case.losses)
        row |= {name: " / ".join(f"{found[key]:.4f}" for found in case.results) for key, name in METRICS.items()}
        row["losses differ by"] = f"{max(apart(curve, case.losses[0]) for curve in case.losses):.1e}"
        row |= {"metrics by": f"{measured:.1e}", "nudged losses by": f"{apart(case.nudged, case.losses[0]):.1e}"}
        rows.append(row)
    return rows


TEXT = """# One, two and three processes

What follows from the number of processes, not how good a method is: every method, trained for 5 epochs of 10 steps on
480 handwritten digits with a batch of 48 and a learning rate of 0.02, on 1, 2 and 3 CPU processes (`strategy=ddp`,
gloo): in each cell the values on 1 / 2 / 3 processes. The loss is the last epoch's mean over its training steps;
differences of losses are relative and over all epochs, those of metrics absolute. All losses are in
[losses.csv](losses.csv).

{table}

The processes see the same examples, augmented and dealt alike, so all that differs is the order in which numbers are
added up, and what training makes of that. As a control the last column has one process alone, its starting weights
changed by 6e-8 of themselves, which is one rounding: where such a training parts from the first, three processes may
part from one as far.

Ordinary batch norm is another matter: each process normalises by the statistics of its own share of the batch, so its
training depends on how many there are. `model.ghost_batch` makes it independent of their number.

`python benchmarks/processes.py`, torch {torch}.
"""


def main() -> None:
    parser = argument_parser(__doc__, "results/processes")
    parser.add_argument("--runs", type=Path, help="a folder for the runs, with which it can be taken up again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.runs or Path(temporary)
        planned = {processes: runs(processes, folder / str(processes)) for processes in PROCESSES}
        nudged = runs(1, folder / "nudged")
        for processes in PROCESSES:
            launch(train, (planned[processes],), processes)
        train(nudged, NUDGE)
        trained = [
            Trained(network, method, [losses(run) for run in own], [run.results() for run in own], losses(control))
            for (network, method, _), *own, control in zip(cases(), *planned.values(), nudged, strict=True)
        ]
    import torch

    arguments.out.mkdir(parents=True, exist_ok=True)
    text = TEXT.format(table=markdown(table(trained), names=2), torch=torch.__version__)
    write_text(arguments.out / "README.md", text)
    rows = [
        [case.network, case.method, epoch, *values]
        for case in trained
        for epoch, values in enumerate(zip(*case.losses, case.nudged, strict=True))
    ]
    heads = ["network", "method", "epoch", *(f"loss on {n}" for n in PROCESSES), "loss nudged"]
    write_rows(arguments.out / "losses.csv", [heads, *rows])


if __name__ == "__main__":
    main()
