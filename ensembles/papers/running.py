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
from ensembles.papers.tables import Row, Table
from ensembles.reports.entry import FULL, standing

TRAIN = Path(__file__).parents[2] / "train.py"


def unfinished(entry: Planned) -> list[str]:
    """The seeds without results."""
    return [str(run.config["seed"]) for run in entry.runs if results(run) is None]


def having(tables: Sequence[Table], wanted: Sequence[str] | None) -> list[Table]:
    """Those tables that have a row that is wanted by number or name; all of them where none is.

    Raises:
        UserError: a row that none of the tables has.
    """
    for word in wanted or ():
        if not any(_is(row, [word]) for table in tables for row in table.rows):
            if len(tables) > 1:
                raise UserError(f"No table has a row {word!r}: --dry-run shows the rows of each.")
            there = "; ".join(f"{row.number} {row.name}" for row in tables[0].rows)
            raise UserError(f"{tables[0].name} has no row {word!r}: there are {there}.")
    return [table for table in tables if not wanted or any(_is(row, wanted) for row in table.rows)]


def missing(planned: Sequence[Planned], wanted: Sequence[str] | None) -> list[Planned]:
    """Those rows that miss results and, where some are wanted by number or name, are among these."""
    return [entry for entry in planned if (not wanted or _is(entry.row, wanted)) and unfinished(entry)]


def _is(row: Row, wanted: Sequence[str]) -> bool:
    return not {str(row.number), row.name, row.names[0]}.isdisjoint(wanted)


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
    with subprocess.Popen([sys.executable, str(TRAIN), *arguments]) as child:
        try:
            child.wait()
        except KeyboardInterrupt:
            child.wait()  # a terminal's Ctrl-C is for both, and train.py saves what it has done
            raise


def commands(
    table: Table, planned: Sequence[Planned], wanted: Sequence[str] | None, overrides: Sequence[str]
) -> list[str]:
    """For each row the command that runs what is missing of it, among comments."""
    lines = [f"# {table.slug}: {table.title} ({table.cites})"]
    if table.stands:
        lines.append(f"# {standing(table.scale, table.stands)}")
    full = table.scale == FULL and not table.is_figure
    options = {row.number: f" (experiment={name})" for name, row in experiments.shipped(table).items()} if full else {}
    for entry in missing(planned, wanted):
        words = ["python", "train.py", "-m", *entry.row.arguments, f"seed={','.join(unfinished(entry))}"]
        named = f"# {entry.row.number} {entry.row.name}{options.get(entry.row.number, '')}"
        lines += [named, shlex.join([*words, *overrides])]
    done = f"{sum(not unfinished(entry) for entry in planned)} of {len(planned)} rows are done"
    return [*lines, f"# {done if planned else 'computed directly, without runs'}", ""]
