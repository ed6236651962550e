"""Faults that strike at random moments cost nothing but time: the run's end is the same to the last bit."""

import pytest

from tests.faults import experiments
from tests.faults.experiments import only


@pytest.mark.slow
def test_killed(bench, chance, tmp_path):
    experiments.kill(bench, chance, tmp_path, most=3)
    assert bench.lost(tmp_path) == []
    assert not list(only(tmp_path).glob(".*"))


@pytest.mark.parametrize(
    "experiment",
    [
        experiments.kill_in_writing,
        experiments.truncate,
        pytest.param(experiments.damage, marks=pytest.mark.campaign),
        pytest.param(experiments.terminate, marks=pytest.mark.slow),
        pytest.param(experiments.ctrl_c, marks=pytest.mark.slow),
        pytest.param(experiments.preempt, marks=pytest.mark.campaign),
        pytest.param(experiments.fill_disk, marks=pytest.mark.slow),
    ],
    ids=["kill_in_writing", "truncate", "damage", "terminate", "ctrl_c", "preempt", "fill_disk"],
)
def test_struck(experiment, bench, chance, tmp_path):
    assert experiment(bench, chance, tmp_path) > 0
    assert bench.lost(tmp_path) == []
