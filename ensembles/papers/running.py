"""What is missing of a table or figure, and running it. Torch is not imported here."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ensembles.errors import UserError
from ensembles.papers import experiments
from ensembles.papers.fill import results
from ensembles.papers.plan import Planned
from ensembles.papers.tables import Table

TRAIN = Path(__file__).parents[2] / "train.py"


def unfinished(entry: Planned) -> list[str]:
    """The seeds without results."""
    return [str(run.config["seed"]) for run in entry.runs if results(run) is None]


def missing(table: Table, planned: Sequence[Planned], wanted: Sequence[str] | None) -> list[Planned]:
    """Those rows that miss results and, where some are wanted by number or name, are among these.

    Raises:
        UserError: a row that the table does not have.
    """
    called = {entry.row.number: {str(entry.row.number), entry.row.name, entry.row.names[0]} for entry in planned}
    for word in wanted or ():
        if not any(word in words for words in called.values()):
            there = "; ".join(f"{entry.row.number} {entry.row.name}" for entry in planned)
            raise UserError(f"{table.name} has no row {word!r}: there are {there}.")
    chosen = [entry for entry in planned if not wanted or called[entry.row.number] & set(wanted)]
    return [entry for entry in chosen if unfinished(entry)]


def run(table: Table, entries: Sequence[Planned], overrides: Sequence[str]) -> None:
    """Run what is missing of these rows, in one multirun."""
    folder = Path(entries[0].runs[0].config["sweeps_dir"]) / table.slug.replace("/", "-")
    names = experiments.write(table, folder)
    seeds = ",".join(sorted({seed for entry in entries for seed in unfinished(entry)}, key=int))
    alike = {entry.runs[0].folder: names[entry.row.number] for entry in entries}  # rows that share runs once
    chosen = ",".join(alike.values())
    train(["-m", "--config-dir", str(folder), f"experiment={chosen}", f"seed={seeds}", *overrides])


def train(arguments: list[str]) -> None:
    """Call train.py; what fails is in the runs' folders, and in the table."""
    subprocess.run([sys.executable, str(TRAIN), *arguments], check=False)


def commands(
    table: Table, planned: Sequence[Planned], wanted: Sequence[str] | None, overrides: Sequence[str]
) -> list[str]:
    """For each row the command that runs what is missing of it, among comments."""
    lines = [f"# {table.slug}: {table.title} ({table.cites})"]
    if table.stands:
        lines.append(f"# At {table.scale} scale stand {'; '.join(table.stands)}.")
    for entry in missing(table, planned, wanted):
        words = ["python", "train.py", "-m", *entry.row.arguments, f"seed={','.join(unfinished(entry))}"]
        lines += [f"# {entry.row.number} {entry.row.name}", shlex.join([*words, *overrides])]
    done = f"{sum(not unfinished(entry) for entry in planned)} of {len(planned)} rows are done"
    return [*lines, f"# {done if planned else 'computed directly, without runs'}", ""]
