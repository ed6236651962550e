import json
import subprocess

import pytest

from tests.slurm.launching import NETWORK, OWN, SETTINGS, Launching


@pytest.fixture
def place(tmp_path):
    """A folder with the network."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "slow.yaml").write_text("_target_: slow.network\ndropout: 0.2\n")
    (tmp_path / "slow.py").write_text(NETWORK)
    return tmp_path


@pytest.fixture
def launch(place):
    """Start a sweep of jobs."""
    started = []

    def start(seconds_a_step, *arguments, **launcher):
        started.append(Launching(place, seconds_a_step, *arguments, **launcher))
        return started[-1]

    yield start
    for launching in started:
        launching.process.kill()
    for ticket in place.glob("runs/*/job.json"):
        subprocess.run(["scancel", json.loads(ticket.read_text())["id"]])


@pytest.fixture
def undisturbed(place, train):
    """What a run's last checkpoint and metrics must be: those of the same run in this process."""

    def run(*arguments):
        ended = train(*OWN, *arguments, *SETTINGS, "runs_dir=undisturbed")
        assert ended.code == 0, ended.err
        return ended

    return run
