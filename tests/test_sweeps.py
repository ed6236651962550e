"""A sweep that is taken up again, shared, disturbed, and looked at."""

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from ensembles.errors import Busy
from ensembles.files import held, holder
from ensembles.methods import Method
from ensembles.runs import Run, state
from tests.conftest import TINY

ROOT = Path(__file__).parents[1]
LITTLE = ["recipe.epochs=1", "data.val_fraction=0"]


@pytest.fixture
def trainings(monkeypatch):
    """The seeds of the trainings that began, and a set of seeds whose trainings fail."""
    began, fails = [], set()

    def on_fit_start(self):
        seed = self.trainer.datamodule.seed
        began.append(seed)
        if seed in fails:
            raise RuntimeError(f"seed {seed} is cursed")

    monkeypatch.setattr(Method, "on_fit_start", on_fit_start)
    return began, fails


@pytest.fixture
def look(call):
    """``python scripts/sweep.py``."""
    from ensembles.commands import sweep as program

    return partial(call, program)


@pytest.fixture
def states(look):
    """Its exit code, and the runs' states."""

    def of_runs():
        ended = look("--json")
        return ended.code, [run["state"] for sweep in json.loads(ended.out) for run in sweep["runs"]]

    return of_runs


@pytest.mark.slow
def test_a_failed_run_is_named_and_alone_run_again(tiny, trainings, look, states):
    began, fails = trainings
    fails.add(1)
    ended = tiny("-m", "seed=0,1,2", *LITTLE)
    assert ended.code == 1 and began == [0, 1, 2]
    (log,) = Path("runs").glob("*/error.log")
    assert f"seed=1: RuntimeError: seed 1 is cursed [{log}]" in " ".join(ended.out.split())
    assert "in on_fit_start" in log.read_text()
    assert states() == (1, ["done", "failed", "done"])
    code, shown, _ = look()
    assert code == 1 and "seed 1 is cursed" in shown and "error.log" in shown
    fails.clear()
    assert tiny("-m", "seed=0,1,2", *LITTLE).code == 0
    assert began == [0, 1, 2, 1]
    code, shown, _ = look(*Path("sweeps").iterdir())
    assert code == 0
    (table,) = Path("sweeps").glob("*/table.csv")
    with open(table) as file:
        accuracies = [f"{100 * float(row['test/acc']):.1f}" for row in csv.DictReader(file)]
    assert all(accuracy in shown for accuracy in accuracies)


def test_sweeps_share_their_runs(tiny, trainings, look):
    began, _ = trainings
    assert tiny("-m", "seed=0,1", *LITTLE).code == 0
    assert tiny("-m", "seed=1,2", *LITTLE).code == 0
    assert tiny("seed=2", *LITTLE).code == 0
    assert began == [0, 1, 2]
    code, shown, _ = look()
    assert code == 0 and "seed=0,1" in shown and "seed=1,2" in shown


@pytest.mark.slow
def test_the_launching_process_dies(tiny, trainings, look, states):
    """While it is at work another steps aside; killed, its sweep is taken up by the same command."""
    long = ("-m", "seed=0,1", "recipe.epochs=10", "data.val_fraction=0")
    process = subprocess.Popen([sys.executable, ROOT / "train.py", "-m", *TINY, *long[1:]])
    try:
        second = wait_for(process, lambda: [path for path in Path("runs").glob("*/metrics.csv") if seed(path) == 1])
        process.send_signal(signal.SIGSTOP)
        ended = tiny("seed=1", *long[2:])
        assert ended.code == 1 and f"is being worked on by process {process.pid} on {os.uname().nodename}" in ended.err
        code, shown, _ = look()
        assert code == 1 and f"seed=1: process {process.pid}" in shown
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert states() == (1, ["done", "unfinished"])
    assert tiny(*long).code == 0 and trainings[0] == [1]
    assert states() == (0, ["done", "done"])
    assert len(second.read_text().splitlines()) == 11


def seed(metrics):
    return yaml.safe_load((metrics.parent / "config.yaml").read_text())["seed"]


def wait_for(process, find):
    while process.poll() is None:
        if found := find():
            return found[0]
        time.sleep(0.02)
    raise AssertionError("the process has ended")


def test_a_folder_is_held_by_one(tmp_path):
    """Moved away, it is free again; and who asks for its holder doesn't keep others from it."""
    folder = tmp_path / "run"
    folder.mkdir()
    assert holder(folder) is None
    with held(folder):
        assert holder(folder) == f"process {os.getpid()} on {os.uname().nodename}"
        with pytest.raises(Busy, match=f"run is being worked on by process {os.getpid()} on .*: wait for it to end"):
            held(folder).__enter__()
        folder.rename(tmp_path / "previous")
        folder.mkdir()
        with held(folder):
            pass
    assert holder(tmp_path / "previous") is None
    with open(folder / "lock") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        with held(folder):
            pass


def test_force_does_not_take_a_run_from_who_works_on_it(tiny):
    tiny(*LITTLE)
    (folder,) = Path("runs").iterdir()
    before = (folder / "results.json").read_text()
    with held(folder):
        ended = tiny(*LITTLE, "force=true")
    assert ended.code == 1 and "is being worked on by process" in ended.err
    assert (folder / "results.json").read_text() == before
    assert not (folder / "error.log").exists()


def test_torch_is_not_imported(tmp_path):
    code = "import sys; from ensembles.commands import main\nsys.argv = ['ensembles', 'sweep']\n"
    code += "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.stdout == "False\n" and "There is no sweep in sweeps" in ended.stderr


def test_damaged_curves_keep_no_sweep_from_being_shown(tmp_path):
    run = Run({"recipe": {"epochs": 3}, "data": {}, "checkpoint": None, "evaluation": {}}, tmp_path)
    for contents, done in ((b"epoch,lr\n0,0.1\n", 1), (b"", 0), (b"epoch\n\xff\n", 0)):
        run.history.write_bytes(contents)
        assert state(run) == f"unfinished: {done} of 3 epochs"


def test_a_folder_that_is_no_sweeps(look, tmp_path):
    code, _, said = look(tmp_path)
    assert code == 1 and "is no sweep's folder: it has no index.json." in " ".join(said.split())
    (tmp_path / "index.json").write_text("{")
    code, _, said = look(tmp_path)
    assert code == 1 and "start the same sweep again" in said
