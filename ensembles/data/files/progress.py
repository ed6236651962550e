"""A progress bar for what turns out to be slow."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
PATIENCE = 2.0  # seconds of work before a bar is worth the screen


def when_slow(
    items: Iterable[tuple[int, T]], total: int | None, description: str, done: int = 0, in_bytes: bool = False
) -> Iterator[T]:
    """Pass the items on, with a bar on the terminal as soon as they take longer than two seconds.

    Args:
        items: pairs of how much of the total an item is, and the item.
        total: None where it is not known.
        done: how much of the total was done before.
        in_bytes: whether the amounts are bytes, to be shown as MB or GB.
    """
    began = time.monotonic()
    amounts = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = TextColumn("{task.description}"), BarColumn(), amounts, TimeRemainingColumn()
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task(description, total=total, completed=done)
    with ExitStack() as shown:
        for amount, item in items:
            progress.advance(task, amount)
            if not progress.live.is_started and time.monotonic() - began > PATIENCE:
                shown.enter_context(progress)
            yield item
