"""``python train.py --help``: the groups, their options and what each is, from the configs themselves."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ensembles.cli import CONFIGS, paper_rows

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
    "evaluation": "what is measured of a trained network",
    "experiment": "a row of a paper's table, with its own recipe, under one name",
}
EXAMPLES = {
    "python train.py": "a packed ensemble on handwritten digits",
    "python train.py method=packed model=resnet50 data=cifar100": "a paper's recipe is picked by default",
    "python train.py method=mimo method.M=3 method.rho=0.5": "any setting by its key",
    "python train.py data=image_folder data.root=photos": "your own images",
    "python train.py -m method=packed method.alpha=1,2,4 method.gamma=1,2": "a sweep, with one table",
    "python train.py -m cluster=slurm_node model=resnet50 data=imagenet": "a job of 8 GPUs on SLURM",
    "python train.py train=false ckpt=runs/<run>/best.ckpt": "evaluate a checkpoint",
    "python train.py method=mimo --cfg job": "every key and its value",
}


def show() -> None:
    """Print the help page."""
    console = Console()
    console.print("Train, test and report an ensemble of image classifiers.\n")
    console.print("Usage: python train.py [-m] [group=option] [key=value] ...\n", markup=False)
    for group, what in GROUPS.items():
        options = {path.stem: _first_comment(path) for path in sorted((CONFIGS / group).glob("*.yaml"))}
        options |= _tables() if group == paper_rows.GROUP else {}
        if options:
            console.print(Text.assemble((group, "bold"), f": {what}"))
            console.print(_two_columns(options))
    console.print(Text("Examples", "bold"))
    for command, what in EXAMPLES.items():
        console.print(Text(f"  {command}"), Text(f"      {what}", "dim"), sep="\n", soft_wrap=True)


def _tables() -> dict[str, str]:
    """A line for each table, as its rows are too many to list."""
    counts = Counter(name.partition("-")[0] for name in paper_rows.rows())
    return {
        **{f"{table}-...": f"{count} rows" for table, count in counts.items()},
        "": "their names: python scripts/reproduce.py packed/table1 --dry-run",
    }


def _two_columns(rows: dict[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, what in rows.items():
        grid.add_row(f"  {name}", Text(what))
    return grid


def _first_comment(path: Path) -> str:
    lines = (line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# "))
    return next((line for line in lines if not line.startswith("@")), "")
