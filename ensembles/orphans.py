"""Processes that end with the one that has started them: else they would go on with a run that is no longer held."""

import ctypes
import multiprocessing
import os
import signal
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # of prctl(2)


def end_with_parent() -> None:
    """Have Linux kill this process as soon as the one that started it has ended, however and whenever that did."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # before it was asked for, so no signal will come
        os.kill(os.getpid(), signal.SIGKILL)
