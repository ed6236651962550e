import os
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks run no faster on more, and far slower on busy cores

import pytest
import torch

# A whole run of the program in about a second.
TINY = [
    "recipe.epochs=2",
    "model=small_cnn",
    "data.train_size=100",
    "trainer.accelerator=cpu",
    "runtime.progress=false",
    "data.corrupted.source=null",
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Ended(NamedTuple):
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


def only(pattern, where="runs"):
    """Find the one folder or file."""
    (found,) = Path(where).glob(pattern)
    return found


def one_sentence(ended):
    """See that a command ended with one error, and give it."""
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert ended.code == 1 and len(lines) == 1 and lines[0].startswith("error: "), ended.err
    return lines[0]


@pytest.fixture
def plots():
    """Let runs draw their plots, which takes longer than all else that a tiny one does."""


@pytest.fixture
def call(request, tmp_path, monkeypatch, capfd):
    """Call a program, a module with a ``main``, with arguments: in this process and in a folder of its own."""
    monkeypatch.setattr("ensembles.cost.SECONDS", 0)
    if "plots" not in request.fixturenames:
        monkeypatch.setattr("ensembles.evaluation.save_plots", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(program, *arguments):
        monkeypatch.setattr(sys, "argv", [Path(program.__file__).name, *map(str, arguments)])
        capfd.readouterr()
        try:
            program.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Ended(code, *capfd.readouterr())

    return call


@pytest.fixture
def train(call):
    """Call ``python train.py``."""
    import train as program

    return partial(call, program)


@pytest.fixture
def tiny(train):
    """Call ``python train.py`` for a tiny run with further arguments; -m may stand between overrides."""
    return partial(train, *TINY)
