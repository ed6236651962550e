"""Print what a configuration is, without training or data: parameters, multiply-adds, what members share.

ensembles describe method=packed model=resnet50 data=cifar100
ensembles describe -m method=packed,mimo model=resnet18,wrn28_10 --markdown table.md
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ensembles.cli import program
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError, complain
from ensembles.files import write_text
from ensembles.reports.schema import column
from ensembles.reports.terminal import RunRow, compare, write_csv

WIDTH = 120  # of the table in a file or a pipe
COLUMNS = ("cost/params", "cost/member_params", "cost/mult_adds", "cost/forward_passes")


@program()
def main() -> None:
    arguments = parse()
    try:
        check(arguments.overrides, arguments.config_dir)
        described = combinations(arguments.overrides, arguments.config_dir)
        if len(described) > 1 and not arguments.multirun:
            raise UserError("The command line has several configurations: describe them side by side with -m.")
        good = show_all(described, arguments) if arguments.multirun else show_one(described[0][1], arguments.json)
    except UserError as error:
        good = complain(error)
    sys.exit(not good)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for ensembles train: group=option, key=value")
    parser.add_argument("-m", "--multirun", action="store_true", help="one table over all combinations of a=1,2 b=3,4")
    parser.add_argument("-cd", "--config-dir", help="a folder of your own configs")
    parser.add_argument("--json", action="store_true", help="print JSON, with the keys of results.json's cost")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table of -m there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table of -m there, with all digits")
    return parser.parse_intermixed_args()


def show_one(config, as_json: bool) -> bool:
    """Describe one configuration."""
    plain, choices = split(config)
    from ensembles.cost import describe  # imports torch, so only when there is something to describe

    found = describe(plain)
    if as_json:
        print(json.dumps(as_dict(found), indent=2))
        return True
    console = Console()
    size = "x".join(map(str, found.input_shape))
    what = "numbers" if "likelihood" in plain["data"] else "classes"
    console.print(
        f"{choices['method']} on {choices['model']}: {size} in, {found.num_classes} {what} out, M = {found.M}\n"
    )
    numbers = Table.grid(padding=(0, 2))
    for name, key, show in (
        ("parameters", "cost/params", "{:,}"),
        ("parameters of one member on its own", "cost/member_params", "{:,}"),
        ("multiply-adds per image", "cost/mult_adds", "{:,}"),
        ("forward passes of the backbone", "cost/forward_passes", "{:.3f}"),
    ):
        numbers.add_row(name, show.format(found.costs[key]))
    console.print(numbers, "", sharing(found), sep="\n")
    if found.M > 1 and not any(stage.own for stage in found.stages):
        console.print("What tells the members apart is not trained.")
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    return True


def split(config) -> tuple[dict, dict]:
    """A composed config, checked, and the options chosen for its groups."""
    choices = config.hydra.runtime.choices
    del config.hydra
    return checked(config), choices


def sharing(found) -> Table:
    """Where members share and where they differ."""
    table = Table(box=None, padding=(0, 2, 0, 0), title="Parameters by stage", title_justify="left")
    table.add_column("stage")
    for head in ("shared by all", f"own, of each of {found.M}") if found.M > 1 else ("parameters",):
        table.add_column(head, justify="right")
    for stage in found.stages:
        numbers = (stage.shared, stage.own) if found.M > 1 else (stage.shared + stage.own,)
        table.add_row(stage.name, *(f"{number:,}" if number else "-" for number in numbers))
    return table


def as_dict(found) -> dict:
    stages = [{"stage": stage.name, "shared": stage.shared, "own": stage.own} for stage in found.stages]
    return {**found.costs, "members": found.M, "sharing": stages, "notes": found.notes}


def show_all(described: Sequence, arguments: argparse.Namespace) -> bool:
    """Describe several configurations in one table; those that cannot work are in it with the reason."""
    from ensembles.cost import describe

    rows, dicts = [], []
    for varied, config in described:
        try:
            found = describe(split(config)[0])
            rows.append(RunRow(varied, "works", found.costs))
            dicts.append({"overrides": varied, **as_dict(found)})
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
    """The table for a document; what is refused says why beneath it."""
    heads = [*(key.rpartition(".")[2] for key in rows[0].differs), *(column(key).head(brief=True) for key in COLUMNS)]
    names = len(rows[0].differs)
    lines = [heads, ["---"] * names + ["---:"] * (len(heads) - names)]
    lines += [[*row.differs.values(), *(column(key).show(row.results.get(key)) for key in COLUMNS)] for row in rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    reasons = [
        f"- {', '.join(row.differs.values())}: {row.status.partition(': ')[2]}\n" for row in rows if not row.results
    ]
    return table + ("\n" + "".join(reasons) if reasons else "")
