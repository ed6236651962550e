"""What stands between the command line and a run. Torch is not imported here."""

import traceback
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ensembles import recipes  # noqa: F401  its resolver, and the source, are known before any config is composed
from ensembles.cli import paper_rows  # noqa: F401
from ensembles.errors import UserError
from ensembles.lock import Busy
from ensembles.runs import Run

CONFIGS = Path(__file__).parents[2] / "configs"


def complain(error: Exception, run: Run | None = None) -> bool:
    """Say what went wrong on standard error, in one sentence if it is the user's to mend; returns False.

    The traceback of anything else is printed whole; both are kept in the run's error.log, unless another process works
    there.

    Raises:
        BrokenPipeError: what went wrong is that nobody reads what a program prints.
    """
    if run is None and isinstance(error, BrokenPipeError):
        raise error
    text = "".join(traceback.format_exception(error))
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if isinstance(error, UserError):
        console.print(f"[bold red]error:[/] {_escape(str(error))}")
    else:
        console.print(text, markup=False)
    if run is not None and run.folder.is_dir() and not isinstance(error, Busy):
        with suppress(OSError):
            run.error_log.write_text(text)
    return False


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
