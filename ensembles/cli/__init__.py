"""What stands between the command line and a run, and what every program does around its own work. Imports no torch."""

import argparse
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ensembles.cli import paper_rows  # noqa: F401  its source of configs, and the recipes' resolver, are known to Hydra
from ensembles.errors import Interrupted, complain, show_own_warnings

TRUST = {"action": "append", "default": [], "metavar": "PACKAGE", "help": "your package that may be called; repeatable"}


def command_parser(description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Make a command's parser, which shows the module's docstring as it is written."""
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, epilog=epilog, formatter_class=form)


@contextmanager
def program() -> Iterator[None]:
    """Wrap a command's ``main``: find the user's own modules, and turn errors into sentences and exit codes."""
    sys.path.append(os.getcwd())  # networks, methods and data sets of the user's own, by their module's name
    show_own_warnings(speaks=True)
    with piped():
        try:
            yield
        except Exception as error:
            complain(error)
            sys.exit(1)
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            sys.exit(stop.code)
        except KeyboardInterrupt:
            sys.exit(130)


@contextmanager
def piped() -> Iterator[None]:
    """End without a word where nobody reads any more what is printed: ``| head`` has seen enough."""
    try:
        yield
    except BrokenPipeError:
        if not _is_closed(sys.stdout):  # another pipe's fault
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # once more: what a print could not write is still to be written
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
            sys.exit(1)


def _is_closed(file: TextIO) -> bool:
    """Tell whether nobody reads any more what is written to a pipe."""
    watch = select.poll()
    try:
        watch.register(file.fileno(), select.POLLERR)
    except OSError:  # it is no file of the system's
        return False
    return any(event & select.POLLERR for _, event in watch.poll(0))
