"""Signals that ask the program to end, where it is not between two steps of a training."""

import signal
import time

import pytest

from tests.faults.experiments import RUN, only

SLOW_EVALUATION = """
import time
from ensembles.training.callbacks import Collector
def on_test_batch_end(*arguments):
    open("begun", "w")
    time.sleep(60)
Collector.on_test_batch_end = on_test_batch_end
"""
SLOW_STEP = """
import time
from ensembles.methods import Method
def training_step(self, batch):
    open("begun", "w")
    time.sleep(60)
Method.training_step = training_step
"""


def ends_at_once(started, code):
    began = time.monotonic()
    assert started.wait() == code, started.said
    assert time.monotonic() - began < 20


def test_in_the_evaluation_it_ends_at_once(bench, tmp_path):
    started = bench.start(tmp_path, before=SLOW_EVALUATION)
    started.until((tmp_path / "begun").exists)
    started.signal(signal.SIGTERM)
    ends_at_once(started, 143)
    assert started.said == "Stopped by SIGTERM: the same command goes on from what is saved.\n"
    trained = (only(tmp_path) / "last.ckpt").stat().st_mtime_ns
    bench.run(tmp_path)
    assert bench.lost(tmp_path) == []
    assert (only(tmp_path) / "last.ckpt").stat().st_mtime_ns == trained


def test_a_second_ctrl_c_ends_at_once(bench, tmp_path):
    started = bench.start(tmp_path, before=SLOW_STEP)
    started.until((tmp_path / "begun").exists)
    started.signal(signal.SIGINT)
    time.sleep(0.3)
    assert (tmp_path / f"/proc/{started.pid}/stat").read_text().split()[2] != "Z"  # it waits for the end of the step
    started.signal(signal.SIGINT)
    ends_at_once(started, 130)
    assert started.said == "Stopped by Ctrl-C: the same command goes on from what is saved.\n"


@pytest.mark.slow
def test_a_sweep_ends_and_is_taken_up_again(zygote, tmp_path):
    started = zygote.start("-m", *RUN, "seed=0,1", folder=tmp_path)
    started.until(lambda: list(tmp_path.glob("runs/*/previous.ckpt")))
    started.signal(signal.SIGTERM)
    ends_at_once(started, 143)
    assert "the same command goes on from there." in started.said.splitlines()[-1]
    only(tmp_path)  # the other run was not begun
    again = zygote.start("-m", *RUN, "seed=0,1", folder=tmp_path)
    assert again.wait() == 0 and len(list(tmp_path.glob("runs/*/results.json"))) == 2
