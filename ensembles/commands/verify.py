"""Evaluate a shared run, or a row of a leaderboard or study, again and compare the digits.

ensembles verify zoo/packed
ensembles verify hf://user/name data.root=/data
ensembles verify results/leaderboard/mine.json --stamp --by "the maintainers"
ensembles verify results/cifar10 --row packed --seed 0
"""

import json
import sys

from rich.console import Console

from ensembles.cli import TRUST, command_parser, program
from ensembles.reports.terminal import add_row, grid


@program()
def main() -> None:
    parser = command_parser(__doc__, epilog="The exit code is 0 where the digits agree, else 1.")
    parser.add_argument("source", help="a run's folder, a URL, hf://user/name, a row's JSON, or a study's folder")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for ensembles train, such as data.root=")
    parser.add_argument("--row", help="of a study's folder: the row; of a file of many runs: the run's name")
    parser.add_argument("--seed", type=int, default=0, help="of a study's row (default: 0)")
    parser.add_argument("--tolerance", type=float, help="by which a result may differ (default: 0.0001)")
    parser.add_argument("--stamp", dest="stamped", action="store_true", help="write it into a leaderboard's row")
    parser.add_argument("--by", metavar="NAME", help="who verifies it, for the stamp")
    parser.add_argument("--json", action="store_true", help="print each difference for other programs")
    parser.add_argument("-cd", "--config-dir", help="a folder of your own configs")
    parser.add_argument("--trust", **TRUST)
    arguments = vars(parser.parse_intermixed_args())
    as_json = arguments.pop("json")
    arguments = {key: value for key, value in arguments.items() if value is not None}
    from ensembles.zoo.verifying import verify  # imports torch, which takes seconds

    found = verify(**arguments)
    if as_json:
        rows = {
            k: {"said": found.said[k], "found": found.found[k], "difference": d} for k, d in found.differences.items()
        }
        about = {"holds": found.holds, "tolerance": found.tolerance, "left_out": found.left_out, "results": rows}
        print(json.dumps(about, indent=1))
    else:
        show(found)
    sys.exit(not found.holds)


def show(found) -> None:
    """Print each result that was compared, severities of corruptions that agree as one, then whether they agree."""
    differing = set(found.differing)
    table = grid("", "result", "stated", "evaluated", "difference")
    cells = {
        key: difference
        for key, difference in found.differences.items()
        if key.startswith("corrupted/") and key.count("/") == 3 and key not in differing
    }
    for key, difference in found.differences.items():
        if key in cells:
            continue
        one, other = (_number(results[key]) for results in (found.said, found.found))
        add_row(table, key, one, other, f"{difference:.1e}", style="bold red" if key in differing else "")
    if cells:
        add_row(table, f"corrupted/<type>/<severity>: {len(cells)} results", "", "", f"{max(cells.values()):.1e}")
    console = Console()
    console.print(table)
    counted = f"{len(found.differences)} results, tolerance {found.tolerance:g} (relative above 1)"
    if found.left_out:
        counted += f"; {len(found.left_out)} not evaluated again, such as {found.left_out[0]}"
    if found.holds:
        console.print(f"The digits agree: {counted}.", soft_wrap=True)
    elif differing:
        which = ", ".join(sorted(differing))
        console.print(f"{len(differing)} results differ, {which}; {counted}.", soft_wrap=True)
    else:
        console.print(f"The test set was not evaluated again, so nothing is verified: {counted}.", soft_wrap=True)


def _number(value: object) -> str:
    if isinstance(value, list):
        return f"[{len(value)} members]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
