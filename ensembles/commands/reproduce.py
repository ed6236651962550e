"""Run a table or figure of the papers and show it: what the paper prints, what is measured here, and the difference.

ensembles reproduce --list
ensembles reproduce mimo/table1 --scale small              # with the runs of results/cifar10
ensembles reproduce packed/table1 --only "Packed-Ensembles, C10, R18" trainer.precision=16-mixed
ensembles reproduce mixture hydra/launcher=joblib          # all of a paper, by any launcher
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ensembles import papers
from ensembles.cli import command_parser, program
from ensembles.errors import UserError
from ensembles.papers import Table
from ensembles.papers.scales import NAMES, SMALL, STUDY, Scale, scale
from ensembles.reproduction import running, work
from ensembles.reproduction.measured import fill
from ensembles.reproduction.running import Planned, StudyRuns, custom_settings, is_wanted, plan


@program()
def main() -> None:
    arguments = parse()
    chosen = scale(arguments.scale, arguments.images)
    if arguments.list:
        show_list(arguments, chosen)
        sys.exit()
    if not arguments.tables:
        raise UserError("Name a table, a figure, a paper or all; --list shows what there is.")
    tables = loaded(arguments.tables, chosen)
    if arguments.scale == SMALL:
        show_small(tables, arguments)
        sys.exit()
    wanted, settings = [], running.without_hydras(arguments.overrides)
    for table in running.tables_with_rows(tables, arguments.only):
        rows = plan(table, arguments.seeds or chosen.seeds(table), settings)
        wanted.append((custom_settings(table, rows, settings), rows))
    if arguments.dry_run:
        for table, rows in wanted:
            print(*running.commands(table, rows, arguments.only, arguments.overrides), sep="\n")
        sys.exit()
    sys.exit(not all([reproduce(table, rows, arguments) for table, rows in wanted]))


def parse() -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME | KEY=VALUE",
        help="<paper>/<table or figure>, <paper> or all; a run's overrides (<name>-own.* if they change it)",
    )
    parser.add_argument("--list", action="store_true", help="show all tables and figures, and what each needs")
    parser.add_argument("--dry-run", action="store_true", help="show the commands that would run")
    parser.add_argument("--no-run", action="store_true", help="run nothing: show what has been measured already")
    parser.add_argument(
        "--only", action="append", metavar="ROW", help="run this row alone, by number or name; can be repeated"
    )
    parser.add_argument("--seeds", type=int, help="runs of a row, with the seeds 0, 1, ...")
    parser.add_argument(
        "--scale",
        default="full",
        choices=NAMES,
        help="small: show rows on CIFAR-10 with the runs of results/cifar10; smoke: run stand-ins in seconds",
    )
    parser.add_argument("--images", metavar="FOLDER", help="all of CIFAR-10, train/<class>/ and test/<class>/")
    parser.add_argument("--out", type=Path, default=Path("results"), help="where they are written (default: results)")
    arguments = parser.parse_intermixed_args()
    arguments.tables = [word for word in arguments.words if "=" not in word]
    arguments.overrides = [word for word in arguments.words if "=" in word]
    if any(word.startswith("seed=") for word in arguments.overrides):
        parser.error("seeds are chosen with --seeds")
    if any(word.startswith("force=") for word in arguments.overrides):
        parser.error("what is done is not run again: to train it anew, delete its folder in runs/, without force")
    if arguments.seeds is not None and arguments.seeds < 1:
        parser.error("--seeds must be an integer of at least 1")
    return arguments


def loaded(words: Sequence[str], chosen: Scale) -> list[Table]:
    """Load the tables and figures that the words name (one, a paper's, or all), at the scale."""
    names: dict[str, None] = {}
    for word in words:
        below = [name for name in papers.names() if word == "all" or name.startswith(f"{word}/")]
        names |= dict.fromkeys(below or [word])
    return [chosen.applied(papers.load(name)) for name in names]


def show_list(arguments: argparse.Namespace, chosen: Scale) -> None:
    """Print what there is, and what each needs."""
    tables = loaded(arguments.tables or ["all"], chosen)
    Console().print(work.listing(tables, chosen, arguments.seeds), highlight=False)


def show_small(tables: Sequence[Table], arguments: argparse.Namespace) -> None:
    """Show tables with the runs of results/cifar10; figures over runs are not drawn.

    Raises:
        UserError: something is to be run.
    """
    if arguments.overrides or arguments.only or arguments.seeds:
        raise UserError(
            f"At small scale nothing is run, but the runs of {STUDY.as_posix()} are shown: leave overrides, --only and "
            "--seeds out, or give them to ensembles study."
        )
    for table in tables:
        rows = running.study_runs(table)
        if table.rows and (table.is_figure or not any(row.study_row for row in rows)):
            print(f"{table.name}: {'a figure over runs' if table.is_figure else 'on other data'}, not at small scale.")
        elif arguments.dry_run:
            print(*running.study_commands(table, rows), sep="\n")
        else:
            show(table, rows, arguments.out)


def reproduce(table: Table, rows: Sequence[Planned], arguments: argparse.Namespace) -> bool:
    """Run what is missing of a table or figure and show it; returns whether the chosen rows are done."""
    missing = running.missing(rows, arguments.only)
    try:
        if missing and not arguments.no_run:
            running.run(table, missing, arguments.overrides)
    finally:  # what is done is shown after Ctrl-C too
        show(table, rows, arguments.out, arguments.only)
    return not running.missing(rows, arguments.only)


def show(table: Table, rows: Sequence[Planned | StudyRuns], out: Path, only: Sequence[str] | None = None) -> None:
    """Write a table or figure with all results that there are, and print it; of a table the rows that are wanted."""
    if table.is_figure:
        from ensembles.reproduction.figures import draw_figure  # with torch, which takes seconds to import

        draw_figure(table, rows).save(out)
    else:
        whole = fill(table, rows)
        some = [line for line, entry in zip(whole.lines, rows, strict=True) if not only or is_wanted(entry.row, only)]
        whole.save(out, shown=replace(whole, lines=some))
