"""What processes of a group do in tests of the launcher; torch is not imported, so that they start at once."""

import os
import signal
import time
from pathlib import Path

from ensembles.errors import Interrupted
from ensembles.signals import INTERRUPTION


def die(rank_to_die: int) -> None:
    if int(os.environ["LOCAL_RANK"]) == rank_to_die:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def fail_at_length(letters: int) -> None:
    raise ValueError("x" * letters)


def finish(folder: Path) -> None:
    """Ends between two steps, as a training does, and notes that."""
    INTERRUPTION.hold()
    rank = os.environ["LOCAL_RANK"]
    (folder / f"began{rank}").touch()
    while INTERRUPTION.signum is None:
        time.sleep(0.01)
    (folder / f"saved{rank}").touch()
    raise Interrupted(INTERRUPTION.signum, "in epoch 1 after step 2 of 3")
