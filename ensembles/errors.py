"""What a user is meant to read: errors in one sentence, and warnings."""

import logging
import re
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text


class UserError(ValueError):
    """Input that cannot work: its message is one sentence that names the key or file, and the fix."""


class Foreign(UserError):
    """Code that is not this package's has failed: its message names it, and the traceback is of use to its author."""


class Busy(UserError):
    """Another process is at work there."""


class Interrupted(BaseException):
    """A signal asked the program to end, and it has stopped where the same command goes on.

    Not an Exception, so that a sweep ends instead of going on to its next run.

    Args:
        signum: the signal.
        where: where a run was saved because of it, such as "in epoch 3 after step 120 of 390"; None where there was
            nothing new to save.
    """

    def __init__(self, signum: int, where: str | None = None) -> None:
        super().__init__(signum, where)
        self.signum, self.where = signal.Signals(signum), where

    @property
    def code(self) -> int:
        """Give the exit code of a program that this signal ends: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum

    def __str__(self) -> str:
        name = "Ctrl-C" if self.signum == signal.SIGINT else self.signum.name
        if self.where is None:
            return f"Stopped by {name}: the same command goes on from what is saved."
        return f"Stopped by {name} {self.where} and saved: the same command goes on from there."


def reason(error: Exception) -> str:
    """Give the first line of an error's message, without a full stop, to be put into a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


WHY = 160  # characters of a library's own words
GOES_ON = "the same command goes on from the last checkpoint"
FAULTS = {
    r"DataLoader worker .*(exited unexpectedly|killed by signal)": (
        "A process that decodes images has died ({why}), often for lack of memory: set a smaller data.num_workers, "
        f"or 0; {GOES_ON}."
    ),
    r"can't allocate memory|not enough memory|out of memory|Cannot allocate memory": (
        "There is not enough memory ({why}): set a smaller recipe.batch_size, data.eval_batch_size or method.M, or "
        f"trainer.precision=bf16-mixed; {GOES_ON}."
    ),
    r"[Cc]onnection (was )?(closed|reset)|Broken pipe|remote process exited|Timed out waiting|imeout|Watchdog": (
        f"Another process of this run has died or does not answer ({{why}}): {GOES_ON}, also with another number of "
        "processes."
    ),
}


@contextmanager
def explained() -> Iterator[None]:
    """Turn memory that runs out and processes that die into a sentence.

    Raises:
        UserError: what happened and what to do.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = f"out of memory: {error}" if isinstance(error, MemoryError) else str(error)
        for pattern, sentence in FAULTS.items():
            if re.search(pattern, said):
                raise UserError(sentence.format(why=reason(error)[:WHY])) from error
        raise


def show_own_warnings(speaks: bool) -> None:
    """Show this package's own warnings as one line each, if this process speaks; hide the libraries' advice."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if speaks:
        warnings.filterwarnings("once", category=UserWarning, module=r"ensembles\.|__main__")
        warnings.showwarning = lambda message, *_: print(f"note: {message}", flush=True)


def complain(error: Exception, log: Path | None = None) -> bool:
    """Say what went wrong on standard error, in one sentence if it is the user's to mend; returns False.

    The traceback of anything else is printed whole; both are kept in a run's log, unless another process works there.

    Raises:
        BrokenPipeError: what went wrong is that nobody reads what a program prints.
    """
    if log is None and isinstance(error, BrokenPipeError):
        raise error
    text = _writable("".join(traceback.format_exception(error)))
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if isinstance(error, UserError):
        where = f" Its traceback is in {log}." if isinstance(error, Foreign) and log else ""
        console.print(Text.assemble(("error:", "bold red"), f" {_writable(str(error))}{where}"))
    else:
        console.print(text, markup=False)
    if log is not None and log.parent.is_dir() and not isinstance(error, Busy):
        with suppress(OSError):
            log.write_text(text, encoding="utf-8")
    return False


def _writable(text: str) -> str:
    """Escape what names of files can hold and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
