"""What can go wrong in a running program and is nobody's mistake in the code, in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ensembles.errors import UserError, reason

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
        said = f"out of memory: {error}" if isinstance(error, MemoryError | torch.OutOfMemoryError) else str(error)
        for pattern, sentence in FAULTS.items():
            if re.search(pattern, said):
                raise UserError(sentence.format(why=reason(error)[:WHY])) from error
        raise
