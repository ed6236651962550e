"""Signals that ask a run to end: Ctrl-C, SIGTERM, and those that come before a cluster takes a machine away.

Torch is not imported here.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ensembles.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interruption:
    """This process's view of the signals in `SIGNALS` while it listens to them.

    Such a signal raises `Interrupted` wherever the program is; but while signals are held, as in training, it is only
    noted, for the training loop to end between two steps. A second Ctrl-C always raises.

    Attributes:
        signum: the first signal that has come, or None.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._held = False
        self._process: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals; afterwards they do what they did before."""
        before, came = {signum: signal.getsignal(signum) for signum in SIGNALS}, (self.signum, self._process)
        self.signum, self._process = None, os.getpid()
        self.install()
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
            self.signum, self._process = came

    def install(self) -> None:
        """Install the handlers again, if something else may have done so in between."""
        if self._process == os.getpid():
            for signum in SIGNALS:
                signal.signal(signum, self._come)

    def hold(self) -> None:
        """Only note signals from now on."""
        self.install()
        self._held = True

    @contextmanager
    def released(self) -> Iterator[None]:
        """Stop holding signals at the end, and raise `Interrupted` if one has come, whatever else went wrong."""
        try:
            yield
        except Exception as error:
            if self.signum is not None:
                raise Interrupted(self.signum) from error
            raise
        finally:
            self._held = False
        if self.signum is not None:
            raise Interrupted(self.signum)

    def _come(self, signum: int, frame: object) -> None:
        if self._process != os.getpid():
            return  # a copy of the program that fetches data; what started it decides
        again = self.signum is not None and signum == signal.SIGINT
        self.signum = self.signum or signum
        if again or not self._held:
            raise Interrupted(self.signum)


INTERRUPTION = Interruption()
