"""What stands between the command line and a run. Torch is not imported here."""

import traceback
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ensembles import recipes  # noqa: F401  its resolver, and the source, are known before any config is composed
from ensembles.cli import paper_rows  # noqa: F401
from ensembles.errors import Foreign, UserError
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
    text = _writable("".join(traceback.format_exception(error)))
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if isinstance(error, UserError):
        log = f" Its traceback is in {run.error_log}." if isinstance(error, Foreign) and run else ""
        console.print(Text.assemble(("error:", "bold red"), f" {_writable(str(error))}{log}"))
    else:
        console.print(text, markup=False)
    if run is not None and run.folder.is_dir() and not isinstance(error, Busy):
        with suppress(OSError):
            run.error_log.write_text(text, encoding="utf-8")
    return False


def _writable(text: str) -> str:
    """The text with escapes for what names of files can hold and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
