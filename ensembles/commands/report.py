"""Write one self-contained page: claims, tables, figures, accuracy against speed, each run's config and plots.

ensembles report                                  # of all in the folder runs
ensembles report runs --out report.html
ensembles report sweeps/1a2b3c4d results          # a sweep's runs, and the papers' claims, tables and figures
"""

from pathlib import Path

from rich.console import Console

from ensembles.claims.ledger import LEDGER, load_ledger
from ensembles.cli import command_parser, program
from ensembles.files import write_text
from ensembles.reports.overview import overview
from ensembles.reports.runs_table import gather


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        help="of runs, of sweeps, or of what ensembles reproduce wrote (default: runs)",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the file to write")
    arguments = parser.parse_args()
    ledgers = [folder / LEDGER for folder in arguments.folders if (folder / LEDGER).is_file()]
    claims = load_ledger(ledgers[0]) if ledgers else None
    write_text(arguments.out, overview(*gather(arguments.folders), claims))
    Console().print(f"The page: {arguments.out}", soft_wrap=True)
