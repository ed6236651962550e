"""How tables look in a terminal."""

from rich import box
from rich.table import Table
from rich.text import Text


def _cell(text: str) -> Text:
    """A cell that is cut with dots rather than wrapped, and in which [brackets] are no markup."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def grid(title: str, *heads: str, names: int = 1) -> Table:
    """A table whose first columns are names and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify, table.title_style = title or None, "left", "bold"
    for i, head in enumerate(heads):
        # where the table is too wide rich narrows the columns that may wrap: the names
        table.add_column(_cell(head), justify="left" if i < names else "right", no_wrap=i >= names)
    return table


def add_row(table: Table, *cells: str, style: str = "") -> None:
    table.add_row(*map(_cell, cells), style=style)
