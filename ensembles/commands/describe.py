"""Print what a configuration is, without training or data: parameters, multiply-adds, what members share.

ensembles describe method=packed model=resnet50 data=cifar100
ensembles describe -m method=packed,mimo model=resnet18,wrn28_10 --markdown table.md
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from ensembles.cli import command_parser, program
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError
from ensembles.files import write_text
from ensembles.reports.schema import column
from ensembles.reports.sweep_table import RunRow, compare, write_csv

WIDTH = 120  # of the table in a file or a pipe
COLUMNS = ("cost/params", "cost/member_params", "cost/mult_adds", "cost/forward_passes")


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("overrides", nargs="*", help="as for ensembles train: group=option, key=value")
    parser.add_argument("-m", "--multirun", action="store_true", help="one table over all combinations of a=1,2 b=3,4")
    parser.add_argument("-cd", "--config-dir", help="a folder of your own configs")
    parser.add_argument("--json", action="store_true", help="print JSON, with the keys of results.json's cost")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table of -m there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table of -m there, with all digits")
    arguments = parser.parse_intermixed_args()
    check(arguments.overrides, arguments.config_dir)
    described = combinations(arguments.overrides, arguments.config_dir)
    if arguments.multirun:
        sys.exit(not show_all(described, arguments))
    if len(described) > 1:
        raise UserError("The command line has several configurations: describe them side by side with -m.")
    show_one(described[0][1], arguments.json)


def show_one(config: DictConfig, as_json: bool) -> None:
    """Describe one composed configuration."""
    plain, choices = checked(config), config.hydra.runtime.choices
    from ensembles.cost import describe  # imports torch, so only when there is something to describe

    found = describe(plain)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console, M = Console(), found["members"]
    size = "x".join(map(str, found["input_shape"]))
    what = "numbers" if "likelihood" in plain["data"] else "classes"
    console.print(f"{choices.method} on {choices.model}: {size} in, {found['outputs']} {what} out, M = {M}\n")
    numbers = Table.grid(padding=(0, 2))
    for name, key, show in (
        ("parameters", "cost/params", "{:,}"),
        ("parameters of one member on its own", "cost/member_params", "{:,}"),
        ("multiply-adds per image", "cost/mult_adds", "{:,}"),
        ("forward passes of the backbone", "cost/forward_passes", "{:.3f}"),
    ):
        numbers.add_row(name, show.format(found[key]))
    stages = Table(box=None, padding=(0, 2, 0, 0), title="Parameters by stage", title_justify="left")
    stages.add_column("stage")
    for head in ("shared by all", f"own, of each of {M}") if M > 1 else ("parameters",):
        stages.add_column(head, justify="right")
    for row in found["sharing"]:
        parts = (row["shared"], row["own"]) if M > 1 else (row["shared"] + row["own"],)
        stages.add_row(row["stage"], *(f"{part:,}" if part else "-" for part in parts))
    console.print(numbers, "", stages, sep="\n")
    if M > 1 and not any(row["own"] for row in found["sharing"]):
        console.print("What tells the members apart is not trained.")
    for note in found["notes"]:
        console.print(f"note: {note}", markup=False)


def show_all(described: Sequence, arguments: argparse.Namespace) -> bool:
    """Describe several configurations in one table, those that cannot work with the reason; returns whether any can."""
    from ensembles.cost import describe

    rows, dicts = [], []
    for varied, config in described:
        try:
            found = describe(checked(config))
            rows.append(RunRow(varied, "works", {key: found[key] for key in COLUMNS}))
            dicts.append({"overrides": varied, **found})
        except UserError as error:
            rows.append(RunRow(varied, f"refused: {error}", {}))
            dicts.append({"overrides": varied, "refused": str(error)})
    if arguments.json:
        print(json.dumps(dicts, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(compare(rows, COLUMNS))
    if arguments.markdown:
        write_text(arguments.markdown, markdown(rows))
    if arguments.csv:
        write_csv(arguments.csv, rows)
    return any(row.results for row in rows)


def markdown(rows: Sequence[RunRow]) -> str:
    """Write the table for a document; what is refused says why beneath it."""
    heads = [*(key.rpartition(".")[2] for key in rows[0].differs), *(column(key).head(brief=True) for key in COLUMNS)]
    names = len(rows[0].differs)
    lines = [heads, ["---"] * names + ["---:"] * (len(heads) - names)]
    lines += [[*row.differs.values(), *(column(key).show(row.results.get(key)) for key in COLUMNS)] for row in rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    reasons = [
        f"- {', '.join(row.differs.values())}: {row.status.partition(': ')[2]}\n" for row in rows if not row.results
    ]
    return table + ("\n" + "".join(reasons) if reasons else "")
