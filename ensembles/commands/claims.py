"""Say which of the papers' claims hold by the results at hand, and what would decide the others.

ensembles claims                        # judged by results/, written to results/claims.md and claims.json
ensembles claims results more/results   # by several folders, written to the first
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ensembles.claims.ledger import OUTCOMES, as_json, counts, ledger, markdown
from ensembles.claims.schema import all_claims
from ensembles.cli import program
from ensembles.errors import UserError, complain
from ensembles.files import write_text


@program()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[Path("results")], help="of results (default: results)"
    )
    parser.add_argument("--out", type=Path, help="the file to write (default: claims.md in the first folder)")
    arguments = parser.parse_args()
    out = arguments.out or arguments.folders[0] / "claims.md"
    try:
        for folder in arguments.folders:
            if not folder.is_dir():
                raise UserError(
                    f"There is no folder {folder}: name folders that hold tables, figures or cifar10/runs.json."
                )
        found = ledger(all_claims(), arguments.folders)
        write_text(out, markdown(found))
        write_text(out.with_suffix(".json"), as_json(found))
    except UserError as error:
        complain(error)
        sys.exit(1)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("", *OUTCOMES):
        table.add_column(head, justify="right" if head else "left")
    for paper, of in found.items():
        table.add_row(paper, *counts(of.entries))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"\nEach claim with its numbers: {out}", soft_wrap=True)
