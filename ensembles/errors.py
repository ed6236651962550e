"""The errors that a user is meant to read."""

import signal


class UserError(ValueError):
    """Input that cannot work: its message is one sentence that names the key or file, and the fix."""


class Foreign(UserError):
    """Code that is not this package's has failed: its message names it, and the traceback is of use to its author."""


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
        """What a program that this signal ends exits with: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum

    def __str__(self) -> str:
        name = "Ctrl-C" if self.signum == signal.SIGINT else self.signum.name
        if self.where is None:
            return f"Stopped by {name}: the same command goes on from what is saved."
        return f"Stopped by {name} {self.where} and saved: the same command goes on from there."


def reason(error: Exception) -> str:
    """The first line of an error's message, without a full stop, to be put into a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
