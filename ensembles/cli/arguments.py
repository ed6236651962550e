"""The command line, read before Hydra acts on it, and its help page."""

import os
import sys
from collections import Counter
from pathlib import Path

from hydra._internal.utils import get_args_parser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ensembles.cli import paper_rows
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.cli.search import ASKED, SPACE, Search
from ensembles.cluster import CLUSTERS, job_settings
from ensembles.errors import UserError
from ensembles.recipes import CONFIGS
from ensembles.runs import Run
from ensembles.sweeps import Sweep

BASIC = {  # Hydra's own, in whose place a sweep runs its runs itself: Hydra would compose each anew
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
}
GROUPS = {
    "method": "how M networks are had for less than M networks",
    "model": "the backbone",
    "data": "the data set",
    "data/likelihood": "of a regression: what the network's outputs say of the number to predict",
    "recipe": "optimiser, schedule, epochs, batch size",
    "trainer": "devices and precision",
    "strategy": "how several devices work together",
    "logger": "where metrics go besides the run's folder; several at once: logger=[csv,wandb]",
    "cluster": "with -m: each run as a job of a SLURM cluster",
    "hydra/launcher": "with -m: each run as a job, nothing preset",
    "hydra/sweeper": "with -m: which runs",
    "search": "with hydra/sweeper=optuna: the values to choose from, by default those of the method",
    "evaluation": "what is measured of a trained network",
    "experiment": "a row of a paper's table, with its own recipe, under one name",
}
EXAMPLES = {
    "ensembles train": "a packed ensemble on handwritten digits",
    "ensembles train method=packed model=resnet50 data=cifar100": "a paper's recipe is picked by default",
    "ensembles train method=mimo method.M=3 method.rho=0.5": "any setting by its key",
    "ensembles train data=image_folder data.root=photos": "your own images",
    "ensembles train -m method=packed method.alpha=1,2,4 method.gamma=1,2": "a sweep, with one table",
    "ensembles train -m hydra/sweeper=optuna method=packed": "a search, which the same command goes on with",
    "ensembles train -m cluster=slurm_node model=resnet50 data=imagenet": "a job of 8 GPUs on SLURM",
    "ensembles train train=false ckpt_path=runs/<run>/best.ckpt": "evaluate a checkpoint",
    "ensembles train method=mimo --cfg job": "every key and its value",
}


def show_help() -> None:
    """Print the help page."""
    console = Console()
    console.print("Train, test and report an ensemble of image classifiers.\n")
    console.print("Usage: ensembles train [-m] [group=option] [key=value] ...\n", markup=False)
    for group, what in GROUPS.items():
        options = {path.stem: _first_comment(path) for path in sorted((CONFIGS / group).glob("*.yaml"))}
        if group == paper_rows.GROUP:  # a line a table, as the rows are too many
            counts = Counter(name.partition("-")[0] for name in paper_rows.rows())
            options |= {f"{table}-...": f"{count} rows" for table, count in counts.items()}
            options[""] = "their names: ensembles reproduce packed/table1 --dry-run"
        if options:
            grid = Table.grid(padding=(0, 2))
            grid.add_column(no_wrap=True)
            grid.add_column()
            for name, said in options.items():
                grid.add_row(f"  {name}", Text(said))
            console.print(Text.assemble((group, "bold"), f": {what}"), grid, sep="\n")
    console.print(Text("Examples", "bold"))
    for command, what in EXAMPLES.items():
        console.print(Text(f"  {command}"), Text(f"      {what}", "dim"), sep="\n", soft_wrap=True)


def _first_comment(path: Path) -> str:
    lines = (line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# "))
    return next((line for line in lines if not line.startswith("@")), "")


def planned_sweep() -> Sweep | None:
    """Plan the sweep that the command line asks for; None for one run.

    Raises:
        UserError: arguments that cannot work.
    """
    arguments = get_args_parser().parse_intermixed_args()
    overrides, config_dir = arguments.overrides, arguments.config_dir
    sys.argv = [*(word for word in sys.argv if word not in overrides), *overrides]  # Hydra wants them in one piece
    sys.path.append(os.getcwd())  # networks and methods of the user's own, by their module's name
    if arguments.help:
        show_help()
        sys.exit()
    if arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
        return None
    check(overrides, config_dir, bool(arguments.multirun))
    for override in overrides:
        if override.startswith(f"{SPACE}=") and ASKED not in overrides:
            raise UserError(f"{override} is a space for {ASKED} to choose from: add that, and -m.")
        if override == ASKED and not arguments.multirun:
            raise UserError(f"{override} chooses the runs of a multirun: add -m.")
        if override.startswith(("cluster=", "hydra/launcher=")) and not arguments.multirun:
            raise UserError(f"{override} makes each run of a multirun a job: add -m, also for one run.")
    if not arguments.multirun:
        return None
    if ASKED in overrides:
        return Search.plan(overrides, config_dir)
    sweep = plan_sweep(overrides, config_dir)
    os.environ["SWEEP_FOLDER"] = str(sweep.folder)  # hydra.sweep.dir, where Hydra and its launchers keep their own
    if any(map(_sweeps_group, overrides)):
        sys.argv = [_added(word) if word in overrides else word for word in sys.argv]
    return sweep


def plan_sweep(arguments: list[str], config_dir: str | None = None) -> Sweep:
    """Plan the sweep over all combinations of the arguments' choices; every configuration is checked before any runs.

    Args:
        config_dir: a folder of the user's own configs.

    Raises:
        UserError: a combination that cannot work, or a folder that cannot be written.
    """
    runs, jobs, by_plugin = [], [], False
    for varied, config in combinations(arguments, config_dir):
        jobs.append(job_settings(config))
        by_plugin |= not {config.hydra.launcher._target_, config.hydra.sweeper._target_} <= BASIC | CLUSTERS.keys()
        runs.append((varied, Run.of(checked(config), config.hydra.runtime.choices)))
    folder = Sweep.folder_of(arguments, runs[0][1].config["sweeps_dir"])
    sweep = Sweep(folder, arguments, runs, jobs, by_plugin)
    sweep.write_index()
    return sweep


def _sweeps_group(override: str) -> bool:
    group, _, options = override.partition("=")
    return "," in options and (CONFIGS / group).is_dir()


def _added(override: str) -> str:
    """Turn the override of a setting into one that may add it: Hydra composes a multirun first without swept groups.

    By then all keys have been checked in the runs' own configurations.
    """
    key = override.partition("=")[0]
    return f"++{override}" if "." in key and key[0] not in "+~" and not key.startswith("hydra.") else override
