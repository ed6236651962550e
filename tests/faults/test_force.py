"""``force=true`` trains anew: what was finished before stays, however often the new run is stopped on its way."""

import signal

import pytest
import torch

from ensembles.runs import Run
from tests.faults.experiments import only, results


@pytest.fixture
def run(tmp_path):
    return Run({"recipe": {"epochs": 2}}, tmp_path / "run")


def begun(run, name):
    run.folder.mkdir(exist_ok=True)
    run.last.write_text(name)


def finished(run, name):
    begun(run, name)
    run.results_file.write_text("{}")
    run.begun_anew.unlink(missing_ok=True)


def kept(run, suffix=".previous"):
    return (run.folder.with_name(run.folder.name + suffix) / "last.ckpt").read_text()


def test_a_finished_run_stays_while_the_new_one_is_stopped_and_goes_on(run):
    finished(run, "first")
    for _ in range(3):
        run.set_aside()
        assert kept(run) == "first"
        assert not run.last.exists() or run.last.read_text() == "half of the second"
        begun(run, "half of the second")
    finished(run, "second")
    run.set_aside()
    assert kept(run) == "second" and not run.last.exists()


def test_it_stays_when_the_new_one_has_saved_nothing(run):
    finished(run, "first")
    run.set_aside()
    run.begun_anew.unlink()  # killed before it was there
    run.set_aside()
    assert kept(run) == "first"


def test_an_unfinished_run_takes_no_finished_ones_place(run):
    begun(run, "unfinished")
    run.set_aside()
    assert kept(run) == "unfinished"
    finished(run, "first")
    run.set_aside()
    assert kept(run) == "first"
    run.begun_anew.unlink()
    begun(run, "of another version")
    run.set_aside()
    assert kept(run) == "first" and kept(run, ".unfinished") == "of another version" and not run.last.exists()


def test_a_run_without_a_folder(run):
    run.set_aside()
    assert not run.folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_is_stopped_and_called_again(bench, chance, tmp_path, signum):
    bench.run(tmp_path)
    run = only(tmp_path)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != "lock"}
    previous = run.with_name(f"{run.name}.previous")
    steps = 0
    for _ in range(2):
        started = bench.start(tmp_path, "force=true")
        started.until(lambda: previous.exists() and (run / "previous.ckpt").exists())
        then = (run / "last.ckpt").stat().st_mtime_ns if steps else None
        started.until(lambda then=then: (run / "last.ckpt").stat().st_mtime_ns != then)
        started.signal(signum)
        assert started.wait() == (-signum if signum == signal.SIGKILL else 128 + signum), started.said
        assert {name: (previous / name).read_bytes() for name in before} == before
        now = steps_done(run / "previous.ckpt")
        assert now > steps  # it went on
        steps = now
    bench.run(tmp_path, "force=true")
    assert bench.lost(tmp_path) == [] and results(run) == results(previous)
    assert {name: (previous / name).read_bytes() for name in before} == before


def steps_done(checkpoint):
    return torch.load(checkpoint, weights_only=True)["global_step"]
