"""docs/extending.md is followed to the letter, in a copy of the checkout; files that docs/design.md names are there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
FILES = [text for language, text in BLOCKS if language in ("python", "yaml")]
ADDITIONS = [text for language, text in BLOCKS if language == "diff"]
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
RUN = """
import runpy, shlex, sys
for line in sys.stdin:
    sys.argv = shlex.split(line)[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        assert not stop.code, line
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout in which the page's files and lines are added."""
    for name in ("ensembles", "configs", "scripts", "train.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for text in FILES:
        path = tmp_path / text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        assert not path.exists()
        path.write_text(text.partition("\n")[2])
    for text in ADDITIONS:
        head, _, rest = text.partition("\n")
        path = tmp_path / head.removeprefix("+++ ")
        content = path.read_text()
        for hunk in rest.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if not line.startswith("+"))
            assert content.count(before) == 1, f"{path.name} has other lines than\n{before}"
            content = content.replace(before, "".join(line[1:] or "\n" for line in lines))
        path.write_text(content)
    return tmp_path


def test_what_is_added_is_written_as_the_project_is(checkout):
    assert len(FILES) == 7 and len(ADDITIONS) == 4
    shutil.copy(ROOT / "pyproject.toml", checkout)
    for command in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=checkout, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout


@pytest.mark.slow
def test_the_commands_run(checkout):
    assert len(COMMANDS) == 4
    quick = ("data.train_size=100", "trainer.accelerator=cpu", "runtime.progress=false")
    commands = [shlex.join([*shlex.split(line), *quick]) for line in COMMANDS]
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(commands),
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(path.read_text()) for path in checkout.glob("runs/parity-lenet-*/results.json")]
    assert len(found) == 4 and all("test/overconfidence" in results for results in found)
    assert sorted(len(results["members/acc"]) for results in found) == [1, 2, 4, 4]
    assert "| Bagging |" in next(checkout.glob("results/breiman/table1*.md")).read_text()


def test_files_that_the_design_names_are_there():
    text = (ROOT / "docs/design.md").read_text()
    paths = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|\.yaml|/))`", text))
    assert len(paths) > 40
    assert {path for path in paths if not [*ROOT.glob(path), *ROOT.glob(f"ensembles/**/{path}")]} == set()
