"""Several processes: one that dies does not leave the others waiting, and any number of them goes on with the run."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ensembles.errors import Interrupted, UserError
from ensembles.processes import launch
from ensembles.signals import INTERRUPTION
from tests.faults.experiments import RUN, only, results
from tests.faults.work import die, fail_at_length, finish
from tests.faults.zygote import ROOT

# Without batch norm the number of processes changes nothing but rounding.
WITHOUT_NORMS = (*RUN, "model=mlp", "recipe.batch_size=24", "method=mimo")


def group(zygote, folder, processes, *arguments, **settings):
    """Processes that something else than the program has started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    where = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0"}
    arguments = (*WITHOUT_NORMS, f"trainer.devices={processes}", "strategy=ddp", *arguments)
    return [
        zygote.start(*arguments, folder=folder, env={**where, "LOCAL_RANK": str(rank)}, **settings)
        for rank in range(processes)
    ]


def saved(folder):
    return lambda: list(folder.glob("runs/*/previous.ckpt"))


@pytest.fixture(scope="module")
def undisturbed(zygote, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    started = zygote.start(*WITHOUT_NORMS, folder=folder)
    assert started.wait() == 0, started.said
    return only(folder)


def assert_same(one, other):
    """Equal but for rounding."""
    weights, others = (torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (one, other))
    torch.testing.assert_close(weights, others, rtol=1e-3, atol=1e-5)
    assert results(one)["test/nll"] == pytest.approx(results(other)["test/nll"], rel=1e-3)


@pytest.mark.parametrize("goes_on_with", [1, 3])
def test_one_of_two_is_killed(zygote, undisturbed, tmp_path, goes_on_with):
    first, second = group(zygote, tmp_path, 2)
    first.until(saved(tmp_path))
    second.signal(signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL
    began = time.monotonic()
    assert first.wait() == 1 and time.monotonic() - began < 30
    (said,) = (line for line in first.said.splitlines() if line.strip())
    assert said.startswith("error: Another process of this run has died") and "the same command goes on" in said
    if goes_on_with == 1:
        processes = [zygote.start(*WITHOUT_NORMS, folder=tmp_path)]
    else:
        processes = group(zygote, tmp_path, goes_on_with)
    assert [process.wait() for process in processes] == [0] * goes_on_with, [process.said for process in processes]
    assert_same(undisturbed, only(tmp_path))


@pytest.mark.slow
def test_all_stop_at_the_step_at_which_one_is_asked_to(zygote, undisturbed, tmp_path):
    processes = group(zygote, tmp_path, 2)
    processes[0].until(saved(tmp_path))
    processes[1].signal(signal.SIGUSR2)
    assert [process.wait() for process in processes] == [128 + signal.SIGUSR2] * 2
    first, second = (process.said.strip() for process in processes)
    assert first.startswith("Stopped by SIGUSR2 ") and " and saved: " in first and second == ""
    processes = group(zygote, tmp_path, 2)
    assert [process.wait() for process in processes] == [0, 0]
    assert_same(undisturbed, only(tmp_path))


def test_the_launcher_ends_the_others():
    began = time.monotonic()
    with pytest.raises(UserError, match=r"was killed \(SIGKILL\).*the same command goes on"):
        launch(die, (1,), 2)
    assert time.monotonic() - began < 30  # the other is ended though it sleeps on


def test_an_error_longer_than_a_pipe_ends_the_group():
    signal.alarm(60)  # ends this process if the launcher waits for ever
    with pytest.raises(ValueError, match=r"^x") as failed:
        launch(fail_at_length, (200_000,), 2)
    signal.alarm(0)
    assert len(str(failed.value)) == 200_000


def test_the_launcher_hands_signals_on(tmp_path):
    """The signal comes when both processes are at work; and from a process that was asked to end alone."""
    if not (helper := os.fork()):
        while len(list(tmp_path.glob("began*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(0)
    with INTERRUPTION.listening(), pytest.raises(Interrupted) as stopped:
        launch(finish, (tmp_path,), 2)
    os.waitpid(helper, 0)
    assert stopped.value.code == 143 and stopped.value.where == "in epoch 1 after step 2 of 3"
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved0", "saved1"]


LAUNCHES = """
import sys
from pathlib import Path
from ensembles.processes import launch
if __name__ == "__main__":
    from tests.faults.slow_import import note
    launch(note, (Path(sys.argv[1]),), 2)
"""


def descendants(pid):
    """All processes that a process has started, and they."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [more for child in found for more in descendants(child)]


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("after", [0.05, 0.5, "import", "work"])
def test_main_is_killed_while_the_others_start(tmp_path, after):
    """They end with it: while Python starts, while they import what takes seconds, and when they are at work."""
    (tmp_path / "launches.py").write_text(LAUNCHES)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IMPORTS": str(tmp_path)}
    main = subprocess.Popen([sys.executable, tmp_path / "launches.py", tmp_path], env=environment)
    until(lambda: len(descendants(main.pid)) >= 2)
    if isinstance(after, float):
        time.sleep(after)
    else:
        until(lambda: len(list(tmp_path.glob("began*" if after == "import" else "ran*"))) == 2)
    others = descendants(main.pid)
    main.kill()
    main.wait()
    began = time.monotonic()
    until(lambda: not any(map(runs, others)))
    assert time.monotonic() - began < 2.5  # less than the import takes
    assert after == "work" or not list(tmp_path.glob("ran*"))


def until(ready):
    end = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)
