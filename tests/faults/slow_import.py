"""What takes as long to import as torch does in a process of a group, and what that does then."""

import multiprocessing
import os
import time
from pathlib import Path

if multiprocessing.parent_process():
    Path(os.environ["IMPORTS"], f"began{os.getpid()}").touch()
    time.sleep(3)


def note(folder: Path) -> None:
    """Say that it runs."""
    (folder / f"ran{os.environ['LOCAL_RANK']}").touch()
    time.sleep(60)
