"""What tables and figures there are, and what each needs. Torch is not imported here."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from ensembles.cli import CONFIGS
from ensembles.papers.machine import ASSUMED, GPU, Speed
from ensembles.papers.scales import Scale
from ensembles.papers.tables import Table
from ensembles.papers.work import hours
from ensembles.reports.entry import FULL


def listing(tables: Sequence[Table], scale: Scale, seeds: int | None, here: Speed) -> RenderableType:
    """Each with its rows, seeds, hours and data.

    Args:
        tables: at the scale.
        seeds: of a row, where the user says so.
    """
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for table in tables:
        runs = seeds or scale.seeds(table)
        grid.add_row(table.name, f"{table.cites}: {table.title}")
        if table.rows:
            size = f"{len(table.rows)} rows, {runs} {'seed' if runs == 1 else 'seeds'}"
            times = f"{duration(hours(table, runs, here))} here, {duration(hours(table, runs, ASSUMED))} on a GPU"
            grid.add_row("", f"{size}; {times}; needs {', '.join(needs(table))}", style="dim")
        else:
            grid.add_row("", "computed directly, without runs", style="dim")
    at = "" if scale.name == FULL else f"At {scale.name} scale, not the paper's setting. "
    says = (
        f"{at}Times are of all rows and seeds together, from their multiply-adds and training steps: "
        f"here at {_at(here)}, as measured in training a ResNet-18 and an MLP; "
        f"on a GPU at an assumed {_at(ASSUMED)}, for {GPU}."
    )
    return Group(grid, Text(f"\n{says}"))


def _at(speed: Speed) -> str:
    return f"{speed.multiply_adds / 1e9:,.0f} G multiply-adds a second and {1000 * speed.step:.0f} ms a step besides"


def duration(hours: float | None) -> str:
    """1,234 h, 1.2 h, 12 min."""
    if hours is None:
        return "? h"
    if hours < 1:
        return f"{60 * hours:.0f} min" if 60 * hours >= 1 else "under 1 min"
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"


def needs(table: Table) -> list[str]:
    """The data sets, in the words of the overrides."""
    found: dict[str, None] = {}
    for row in table.rows:
        data = _plain(row.overrides.get("data", ""))
        found[data] = None
        if row.overrides.get("data.corrupt") == "written":
            found[f"{data}-C"] = None
        for key in ("data.ood_sets", "data.shift_sets"):
            found |= dict.fromkeys(row.overrides.get(key, "[]").strip("[]").split(","))
    return list(filter(None, found))


def _plain(data: str) -> str:
    """imagenet for imagenet_a3, which reads the same files."""
    base = data.partition("_")[0]
    return base if (CONFIGS / "data" / f"{base}.yaml").is_file() else data
