import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks run no faster on more, and far slower on busy cores

import pytest
import torch

# A whole run of the program in about a second.
TINY = [
    "recipe.epochs=2",
    "model=small_cnn",
    "data.train_size=100",
    "trainer.accelerator=cpu",
    "trainer.progress=false",
    "data.corrupt=null",
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Ended:
    """How a command ended: its exit code and what it printed."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def train(tmp_path, monkeypatch, capfd):
    """Call ``python train.py`` with the arguments, in this process and in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    import train as program

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        capfd.readouterr()
        try:
            program.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def tiny(train):
    """Call ``python train.py`` for a tiny run with further arguments."""
    return lambda *arguments: train(*(["-m"] if "-m" in arguments else []), *TINY, *(a for a in arguments if a != "-m"))
