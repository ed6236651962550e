"""Write a leaderboard of cards and collected runs: one self-contained page, and a Markdown table.

ensembles leaderboard results                       # all rows and collected runs that are committed
ensembles leaderboard zoo results/leaderboard --out leaderboard.html --markdown leaderboard.md
"""

import sys
from pathlib import Path

from ensembles.cli import command_parser, program
from ensembles.errors import complain
from ensembles.files import write_text
from ensembles.zoo.leaderboard import entries, html, markdown, read_cards


@program()
def main() -> None:
    parser = command_parser(
        __doc__, epilog="The exit code is 1 where a row is left out, for the reason that is printed."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of cards, shared runs or results")
    parser.add_argument("--out", type=Path, default=Path("leaderboard.html"), help="the page to write")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    arguments = parser.parse_args()
    cards, wrong = read_cards(arguments.folders)
    for error in wrong:
        complain(error)
    found = entries(cards)
    write_text(arguments.out, html(found))
    if arguments.markdown:
        write_text(arguments.markdown, markdown(found))
    print(f"The leaderboard, of {len(cards)} runs on {len(found)} data sets: {arguments.out}")
    sys.exit(bool(wrong))
