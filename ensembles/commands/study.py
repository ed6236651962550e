"""Run what is missing of a study, collect its runs, and write its table, its comparisons and its plots.

ensembles study results/cifar10 --seeds 2                   # all of it
ensembles study results/cifar10 --rows packed,thin --seeds 3
ensembles study results/cifar10 --no-run                    # from the runs that are there or were collected
ensembles study results/cifar10 --search                    # the learning rates, on a split of the training set
ensembles study results/cifar10 --times 15                  # relative times, on a quiet machine
ensembles study results/cifar10 --seeds 2 data=image_folder data.root=photos/cifar10 hydra/launcher=joblib
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from ensembles.cli import program
from ensembles.errors import UserError, complain
from ensembles.studies import collection, report
from ensembles.studies.study import Study


@program()
def main() -> None:
    arguments = parse()
    try:
        study = Study.of(arguments.folder)
        rows = study.chosen(arguments.rows)
        if arguments.search:
            collection.search(arguments.folder, study, rows, arguments.overrides, arguments.run)
            sys.exit()
        if arguments.times:
            from ensembles.studies import timing  # which needs torch

            timing.times(arguments.folder, study, rows, arguments.times)
            arguments.run = False
        seeds, overrides = range(arguments.seeds), arguments.overrides
        found = collection.collect(arguments.folder, study, rows, seeds, overrides, arguments.run)
        if found.runs:
            report.write(arguments.folder, study, found)
    except UserError as error:
        complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    lacking = [f"{row} {seed}" for row in rows for seed in seeds if not found.has(row, seed)]
    if lacking:
        Console().print(f"Not there yet (row, seed): {', '.join(lacking)}.", soft_wrap=True)
    sys.exit(bool(lacking))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the study's folder, with its study.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides for all of its runs")
    parser.add_argument("--rows", type=lambda text: text.split(","), help="run these alone, by their names")
    parser.add_argument("--seeds", type=int, default=1, help="runs of a row, with the seeds 0, 1, ... (default: 1)")
    parser.add_argument("--search", action="store_true", help="run the search for the learning rates")
    parser.add_argument("--times", type=int, metavar="ROUNDS", help="time training steps and predictions side by side")
    parser.add_argument("--no-run", dest="run", action="store_false", help="run nothing: show what is there")
    arguments = parser.parse_intermixed_args()
    for name in ("seeds", "times"):
        if (number := getattr(arguments, name)) is not None and number < 1:
            parser.error(f"--{name} must be an integer of at least 1")
    if wrong := [word for word in arguments.overrides if "=" not in word]:
        parser.error(f"{wrong[0]} is no KEY=VALUE: name rows with --rows")
    if any(word.startswith("seed=") for word in arguments.overrides):
        parser.error("seeds are chosen with --seeds")
    return arguments
