"""Run a table or figure of the papers and show it: what the paper prints, what is measured here, and the difference.

python scripts/reproduce.py --list
python scripts/reproduce.py mimo/table1 --scale small --images photos/cifar10
python scripts/reproduce.py packed/table1 --only "Packed-Ensembles, C10, R18" trainer.precision=16-mixed
python scripts/reproduce.py mixture hydra/launcher=joblib          # all of a paper, by any launcher
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles import papers
from ensembles.cli import complain
from ensembles.errors import UserError
from ensembles.files import replacing, write_text
from ensembles.papers import Table, experiments, work
from ensembles.papers.fill import fill, results
from ensembles.papers.plan import Planned, plan
from ensembles.papers.scales import Scale, names, scale
from ensembles.reports import figure_sheet, paper_table
from ensembles.reports.figure_sheet import FigureSheet
from ensembles.reports.page import page
from ensembles.reports.sheet import Sheet

TRAIN = Path(__file__).parents[1] / "train.py"
WIDE = 200  # columns of the text file


def main() -> None:
    arguments = parse()
    sys.path.append(os.getcwd())  # networks and methods of the user's own, by their module's name
    try:
        chosen = scale(arguments.scale, arguments.images)
        tables = [chosen.applied(papers.load(name)) for name in named(arguments.tables)]
        if arguments.list:
            show_list(tables or [chosen.applied(papers.load(name)) for name in papers.names()], chosen, arguments)
            sys.exit()
        if not tables:
            raise UserError("Name a table, a figure, a paper or all; --list shows what there is.")
        planned = [plan(table, seeds(table, chosen, arguments), train_arguments(arguments)) for table in tables]
        if arguments.dry_run:
            show_commands(tables, planned, arguments)
            sys.exit()
        good = [reproduce(table, rows, arguments) for table, rows in zip(tables, planned, strict=True)]
    except UserError as error:
        complain(error)
        sys.exit(1)
    sys.exit(not all(good))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME | KEY=VALUE",
        help="<paper>/<table or figure>, <paper> or all; overrides of train.py",
    )
    parser.add_argument("--list", action="store_true", help="show all tables and figures, and what each needs")
    parser.add_argument("--measure", action="store_true", help="with --list: count and time anew, for the hours")
    parser.add_argument("--dry-run", action="store_true", help="show the commands")
    parser.add_argument("--no-run", action="store_true", help="show what has been measured already")
    parser.add_argument(
        "--only", action="append", metavar="ROW", help="run this row alone, by number or name; can be repeated"
    )
    parser.add_argument("--seeds", type=int, help="runs of a row, with the seeds 0, 1, ...")
    parser.add_argument("--scale", default="full", choices=names(), help="small, smoke: stand-ins for data and network")
    parser.add_argument("--images", metavar="FOLDER", help="CIFAR-10's images, train/<class>/ and test/<class>/")
    parser.add_argument("--out", type=Path, default=Path("results"), help="where they are written (default: results)")
    arguments = parser.parse_intermixed_args()
    arguments.tables = [word for word in arguments.words if "=" not in word]
    arguments.overrides = [word for word in arguments.words if "=" in word]
    if any(word.startswith("seed=") for word in arguments.overrides):
        parser.error("seeds are chosen with --seeds")
    if arguments.seeds is not None and arguments.seeds < 1:
        parser.error("--seeds must be an integer of at least 1")
    return arguments


def named(words: Sequence[str]) -> list[str]:
    """The tables and figures that the words name: one, a paper's, or all."""
    found = []
    for word in words:
        below = [name for name in papers.names() if word == "all" or name.startswith(f"{word}/")]
        found += below or [word]
    return list(dict.fromkeys(found))


def to_run(table: Table, planned: Sequence[Planned], wanted: Sequence[str] | None) -> list[Planned]:
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


def unfinished(entry: Planned) -> list[str]:
    """The seeds without results."""
    return [str(run.config["seed"]) for run in entry.runs if results(run) is None]


def seeds(table: Table, chosen: Scale, arguments: argparse.Namespace) -> int:
    return arguments.seeds or chosen.seeds(table)


def train_arguments(arguments: argparse.Namespace) -> list[str]:
    """The user's overrides that a configuration is composed from: Hydra's own are for the launch."""
    return [word for word in arguments.overrides if not word.startswith(("hydra/", "hydra."))]


def reproduce(table: Table, planned: Sequence[Planned], arguments: argparse.Namespace) -> bool:
    """Run what is missing of a table and render it; returns whether it is complete."""
    missing = to_run(table, planned, arguments.only)
    if missing and not arguments.no_run:
        folder = Path(missing[0].runs[0].config["sweeps_dir"]) / table.slug.replace("/", "-")
        names = experiments.write(table, folder)
        every = ",".join(sorted({seed for entry in missing for seed in unfinished(entry)}, key=int))
        alike = {entry.runs[0].folder: names[entry.row.number] for entry in missing}  # rows that share runs once
        chosen = ",".join(alike.values())
        train(["-m", "--config-dir", str(folder), f"experiment={chosen}", f"seed={every}", *arguments.overrides])
    if table.is_figure:
        from ensembles.papers.figures import draw  # with torch, which takes seconds to import

        figure = draw(table, planned)
        render_figure(figure, arguments.out)
        return not figure.missing
    sheet = fill(table, planned)
    render(sheet, arguments.out)
    return all(line.status == "done" for line in sheet.lines)


def train(arguments: list[str]) -> None:
    """Call train.py; what fails is in the runs' folders, and in the table."""
    subprocess.run([sys.executable, str(TRAIN), *arguments], check=False)


def render(sheet: Sheet, out: Path) -> None:
    """Show a table, and write it as text, Markdown, CSV, JSON and a page; its scale is in the files' names."""
    stem = place(sheet, out)
    console = Console()
    console.print(paper_table.text(sheet, console))
    with open(os.devnull, "w") as nowhere:
        wide = Console(file=nowhere, record=True, width=WIDE)
        wide.print(paper_table.text(sheet, wide))
    write_text(f"{stem}.txt", "\n".join(line.rstrip() for line in wide.export_text().splitlines()) + "\n")
    write_text(f"{stem}.md", paper_table.markdown(sheet))
    write_text(f"{stem}.csv", paper_table.to_csv(sheet))
    write_text(f"{stem}.json", sheet.json())
    write_text(f"{stem}.html", page(sheet.full_title, [paper_table.html(sheet)]))
    console.print(f"\nThe same as text, Markdown, CSV, JSON and a page: {stem}.*", soft_wrap=True)


def render_figure(sheet: FigureSheet, out: Path) -> None:
    """Say what a figure shows, and write it as PNG, PDF, CSV, JSON and Markdown; its scale is in the files' names."""
    stem = place(sheet, out)
    for kind, picture in sheet.pictures.items():
        with replacing(f"{stem}.{kind}") as draft:
            draft.write_bytes(picture)
    write_text(f"{stem}.csv", figure_sheet.to_csv(sheet))
    write_text(f"{stem}.json", sheet.json())
    write_text(f"{stem}.md", figure_sheet.markdown(sheet, f"{stem.name}.png"))
    Console().print(figure_sheet.text(sheet), soft_wrap=True, highlight=False, markup=False)
    Console().print(f"\nThe figure, its data and what is said of it: {stem}.*", soft_wrap=True)


def place(sheet: Sheet | FigureSheet, out: Path) -> Path:
    """Where it is written, without a suffix."""
    stem = out / (sheet.name if sheet.is_full else f"{sheet.name}-{sheet.scale}")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{stem.parent} cannot be made ({error.strerror}): choose another folder with --out."
        ) from error
    return stem


def show_commands(tables: Sequence[Table], planned: Sequence[Sequence[Planned]], arguments: argparse.Namespace) -> None:
    """Print for each row the command that runs what is missing of it."""
    for table, rows in zip(tables, planned, strict=True):
        print(f"# {table.slug}: {table.title} ({table.cites})")
        for entry in to_run(table, rows, arguments.only):
            words = ["python", "train.py", "-m", *entry.row.arguments, f"seed={','.join(unfinished(entry))}"]
            print(shlex.join([*words, *arguments.overrides]))
        done = f"{sum(not unfinished(entry) for entry in rows)} of {len(rows)} rows are done"
        print(f"# {done if rows else 'computed directly, without runs'}\n")


def show_list(tables: Sequence[Table], chosen: Scale, arguments: argparse.Namespace) -> None:
    """Print what there is, and what each needs."""
    console = Console()
    if arguments.measure:
        found = work.counts()
        for table in tables:
            console.print(f"counting {table.slug}")
            found[work.key(table)] = [work.count(entry) for entry in plan(table, 1, train_arguments(arguments))]
        work.keep(found)
    speed = work.machine_speed(again=arguments.measure)
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for table in tables:
        runs = seeds(table, chosen, arguments)
        here, gpu = (show_hours(work.hours(table, runs, rate)) for rate in (speed, work.GPU_SPEED))
        grid.add_row(table.slug, f"{table.cites}: {table.title}")
        if table.rows:
            size = f"{len(table.rows)} rows, {runs} {'seed' if runs == 1 else 'seeds'}"
            grid.add_row("", f"{size}; {here} h here, {gpu} h on a GPU; {work.needs(table)}", style="dim")
        else:
            grid.add_row("", "computed directly, without runs", style="dim")
    console.print(grid, highlight=False)
    console.print(
        f"\nHours are of all rows and seeds, from their multiply-adds: here at {speed / 1e9:,.0f} G a second, measured "
        f"in training a ResNet-18; on a GPU at an assumed {work.GPU_SPEED / 1e9:,.0f} G a second, for {work.GPU}.",
        highlight=False,
    )


def show_hours(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


if __name__ == "__main__":
    main()
