"""Show how far a sweep is: which runs are done, running, failed, unfinished or missing, and the table so far.

ensembles sweep                    # all in sweeps/
ensembles sweep sweeps/1a2b3c4d --json
"""

import json
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ensembles.cli import command_parser, program
from ensembles.errors import UserError
from ensembles.reports.sweep_table import RunRow, compare
from ensembles.sweeps import Sweep

STATES = ("done", "running", "failed", "unfinished", "missing")


def as_dict(sweep: Sweep, rows: list[RunRow]) -> dict:
    """Give what is shown of a sweep to other programs."""
    runs = []
    for row, (_, run) in zip(rows, sweep.runs, strict=True):
        state, _, about = row.status.partition(": ")
        runs.append(
            {"varied": row.differs, "folder": str(run.folder), "state": state, "about": about, "results": row.results}
        )
    return {"folder": str(sweep.folder), "arguments": sweep.arguments, "runs": runs}


def overview(sweeps: list[Sweep], rows: list[list[RunRow]]) -> Table:
    """Count for each sweep, in a row, in which states its runs are."""
    shown = Table("sweep", *STATES, "arguments", box=None, header_style="bold")
    for sweep, own in zip(sweeps, rows, strict=True):
        counts = Counter(row.status.partition(":")[0] for row in own)
        numbers = [str(counts[state] or "") for state in STATES]
        shown.add_row(str(sweep.folder), *numbers, " ".join(sweep.arguments))
    return shown


@program()
def main() -> None:
    parser = command_parser(__doc__, epilog="The exit code is 0 where all runs are done, else 1.")
    parser.add_argument("folder", nargs="*", type=Path, help="a sweep's folder; several, or none for all in sweeps")
    parser.add_argument("--json", action="store_true", help="print it for other programs")
    arguments = parser.parse_args()
    folders = arguments.folder or sorted(path.parent for path in Path("sweeps").glob("*/index.json"))
    if not folders:
        raise UserError("There is no sweep in sweeps: name a sweep's folder, or start one by ensembles train -m ...")
    sweeps = [Sweep.in_folder(folder) for folder in folders]
    rows = [sweep.rows() for sweep in sweeps]
    console = Console()
    if arguments.json:
        print(json.dumps([as_dict(*pair) for pair in zip(sweeps, rows, strict=True)], indent=2))
    elif len(sweeps) == 1:
        console.print(compare(rows[0]))
    else:
        console.print(overview(sweeps, rows))
    if any(row.status != "done" for own in rows for row in own):
        sys.exit(1)
