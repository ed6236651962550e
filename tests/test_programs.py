"""What all programs have in common: a closed pipe ends them quietly, and a warning is one line."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ensembles.cli import piped, program
from ensembles.errors import complain

ROOT = Path(__file__).parents[1]
PROGRAMS = [ROOT / "train.py", *sorted((ROOT / "scripts").glob("*.py"))]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_program_ends_so(path):
    """Those that import nothing of the package excepted."""
    text = path.read_text()
    assert "from ensembles" not in text or "@program()\ndef main" in text or "@piped()\ndef main" in text


def test_json_into_a_pipe_that_is_closed(tmp_path):
    """As ``| head`` does it, and before the first line."""
    command = [sys.executable, ROOT / "scripts/describe.py", "--json"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_pipe_of_something_else_is_complained_of(capsys):
    def fails():
        raise BrokenPipeError("of a worker")

    with pytest.raises(BrokenPipeError), piped():
        fails()
    assert capsys.readouterr().err == ""


def test_a_complaint_about_what_nobody_reads():
    with pytest.raises(BrokenPipeError):
        complain(BrokenPipeError())


def test_warnings_are_one_line(capsys):
    @program()
    def main():
        warnings.warn_explicit("mind this", UserWarning, "temperature.py", 44, module="ensembles.metrics.temperature")
        warnings.warn_explicit("advice", FutureWarning, "x.py", 1, module="library")

    before = list(sys.path)
    try:
        main()
    finally:
        sys.path[:] = before
    assert capsys.readouterr() == ("note: mind this\n", "")
