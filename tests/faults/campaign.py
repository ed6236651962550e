"""Strike runs at random moments, many times: ``python -m tests.faults.campaign [--kills 50] [--times 10]``.

Writes a table with how often each fault was tried and in how many runs anything was lost: weights, results or metrics
that are not those of the undisturbed run to the last bit.
"""

import argparse
import csv
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.faults import experiments
from tests.faults.experiments import Bench
from tests.faults.zygote import Zygote

EXPERIMENTS = (
    experiments.kill,
    experiments.kill_in_writing,
    experiments.truncate,
    experiments.damage,
    experiments.terminate,
    experiments.ctrl_c,
    experiments.preempt,
    experiments.fill_disk,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how often SIGKILL strikes")
    parser.add_argument("--times", type=int, default=10, help="how often each other fault does, at least")
    parser.add_argument("--only", nargs="+", choices=[experiment.__name__ for experiment in EXPERIMENTS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a CSV file for the table")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, Zygote() as zygote:
        (Path(folder) / "undisturbed").mkdir()
        bench = Bench(zygote, Path(folder) / "undisturbed").undisturbed()
        for experiment in EXPERIMENTS:
            if experiment.__name__ not in (arguments.only or [experiment.__name__]):
                continue
            least = arguments.kills if experiment is experiments.kill else arguments.times
            rows.append(repeated(experiment, bench, Path(folder) / experiment.__name__, least, arguments.seed))
            print(", ".join(f"{key}: {value}" for key, value in rows[-1].items()), flush=True)
    if arguments.out:
        with open(arguments.out, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def repeated(experiment: Callable, bench: Bench, folder: Path, least: int, seed: int) -> dict:
    """Strike so often at least, in as many runs as that takes."""
    struck, lost, runs = 0, [], 0
    while struck < least:
        place = folder / str(runs)
        place.mkdir(parents=True)
        struck += experiment(bench, random.Random(f"{seed} {experiment.__name__} {runs}"), place)
        if bench.lost(place):
            lost.append(place)
        runs += 1
    fault = " ".join(experiment.__doc__.partition(".")[0].split())
    return {"fault": fault, "struck": struck, "runs": runs, "runs that lost anything": len(lost)}


if __name__ == "__main__":
    main()
