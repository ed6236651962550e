"""How fast whole evaluations run, beside the bare forward passes of the same network on as many images.

    python benchmarks/evaluation.py model=resnet18 method=deterministic,packed data=image_folder data.root=FOLDER \
        data.corrupted.source=written

The overrides are those of train.py; write the corrupted copies first, with scripts/corrupt.py. An evaluation reads,
normalises, predicts, gathers and measures every set. A bare pass runs the network on batches of the same sizes that are
in memory as it takes them. Both are timed in turn, so that what else the machine does falls on both alike; a ratio is
between the fastest of each, by the clock and by the time that this process had on the processor, which on a busy
machine is the one to trust (with one thread, lest waiting threads count). Writes ``evaluation.csv`` to ``--out``.
"""

import argparse
import csv
import shlex
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles import build, evaluation
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import show_own_warnings
from ensembles.provenance import hardware
from ensembles.runs import Run
from ensembles.training.trainer import configure_members, make_trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+", help="as for train.py; several configurations: a,b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    show_own_warnings(speaks=True)
    check(options.overrides)
    rows = []
    for varied, config in combinations(options.overrides):
        config.runtime.progress = False
        rows.append(varied | measure(checked(config), options.rounds))
    show(rows, options)


def measure(plain: dict, rounds: int) -> dict:
    """Images, seconds and their ratio of one configuration."""
    config = OmegaConf.create(plain)
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    method = build.method(about).eval()
    configure_members(method, config)
    data.prepare_data()
    data.setup("test")
    with TemporaryDirectory() as folder:
        run = Run(plain, Path(folder))

        def evaluate() -> dict:
            trainer = make_trainer(config, run, about, method)
            with evaluation.collecting(trainer, data, run) as summary:
                if evaluation.validates(run):
                    trainer.validate(method, data, verbose=False)
                trainer.test(method, data, verbose=False)
            return summary.results()

        def bare() -> None:
            forward(method, data)

        clocks = {"": time.perf_counter, "cpu_": time.process_time}
        times = {(work, name): [] for work in (evaluate, bare) for name in clocks}
        for _ in range(rounds):
            for work in (evaluate, bare):
                start = {name: clock() for name, clock in clocks.items()}
                work()
                for name, clock in clocks.items():
                    times[work, name].append(clock() - start[name])
    row = {"sets": len(data.test_sets), "images": sum(data.test_sets.values())}
    for name in clocks:
        whole, passes = min(times[evaluate, name]), min(times[bare, name])
        row |= {f"{name}bare_s": passes, f"{name}evaluation_s": whole, f"{name}ratio": passes / whole}
    return row


@torch.inference_mode()
def forward(method, data) -> None:
    """The network on every batch of every set, were they already there."""
    device = next(method.parameters()).device
    shape = data.in_channels, data.image_size, data.image_size
    x = torch.randn(data.eval_batch_size, *shape, device=device).contiguous(memory_format=torch.channels_last)
    for size in data.test_sets.values():
        for part in torch.arange(size).tensor_split(-(-size // data.eval_batch_size)):
            method(x[: len(part)])
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def show(rows: list[dict], options: argparse.Namespace) -> None:
    """Print the table and write it as CSV."""
    table = Table(*(key.replace("_", "\n") for key in rows[0]))
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "evaluation.csv"
    with path.open("w", newline="") as file:
        file.write(f"# python benchmarks/{Path(__file__).name} {shlex.join(sys.argv[1:])}\n# {hardware()}\n")
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(path)


if __name__ == "__main__":
    main()
