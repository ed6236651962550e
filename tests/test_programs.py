"""What all programs have in common: a closed pipe ends them quietly, and a warning is one line."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ensembles import __version__
from ensembles.cli import piped, program
from ensembles.commands import COMMANDS, main, run
from ensembles.errors import complain

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_so_and_has_a_program(name):
    text = (ROOT / f"ensembles/commands/{name}.py").read_text()
    assert "@program()\ndef main" in text or "@piped()\ndef main" in text
    program = ROOT / ("train.py" if name == "train" else f"scripts/{name}.py")
    assert f'run("{name}")' in program.read_text()


def test_commands_are_the_modules_there():
    assert sorted(COMMANDS) == sorted(path.stem for path in (ROOT / "ensembles/commands").glob("[!_]*.py"))


def ensembles(*arguments, cwd):
    """Call ``python -m ensembles`` in a process of its own."""
    command = [sys.executable, "-P", "-m", "ensembles", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_command_lists_its_commands_and_hints(tmp_path):
    ended = ensembles(cwd=tmp_path)
    assert ended.returncode == 0 and all(f"  {name} " in ended.stdout for name in COMMANDS)
    ended = ensembles("reprot", "runs", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (
        1,
        "error: There is no command reprot: did you mean ensembles report?\n",
    )
    assert "did you mean ensembles train method=mimo?" in ensembles("method=mimo", cwd=tmp_path).stderr


def test_a_command_is_told_by_its_name(tmp_path):
    assert ensembles("describe", "--help", cwd=tmp_path).stdout.startswith("usage: ensembles describe [-h]")
    ended = ensembles("describe", "method=pakced", cwd=tmp_path)
    assert ended.returncode == 1 and "did you mean packed?" in ended.stderr


@pytest.mark.parametrize("arguments", [["ensembles", "--version"], *([name, "--version"] for name in COMMANDS)])
def test_the_version_is_the_packages(monkeypatch, capsys, arguments):
    name, *_ = arguments
    monkeypatch.setattr(sys, "argv", arguments)
    main() if name == "ensembles" else run(name)
    assert capsys.readouterr().out == f"ensembles {__version__}\n"


def test_importing_the_package_imports_only_it():
    """Names are imported on first use: torch takes seconds."""
    code = "import sys; before = set(sys.modules); import ensembles; dir(ensembles)\n"
    code += "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ensembles"]


@pytest.mark.slow
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
