"""Run folders in which something is not as this program leaves it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from tests.faults import experiments
from tests.faults.experiments import RUN, only, small_disk


@pytest.fixture
def train(bench, tmp_path):
    """Run to the end; gives the exit code and what was said."""

    def run(*arguments):
        started = bench.start(tmp_path, *arguments)
        return started.wait(), started.said

    return run


def sentence(ended):
    code, said = ended
    lines = [line for line in said.splitlines() if line.strip()]
    assert code == 1 and len(lines) == 1 and lines[0].startswith("error: "), said
    return lines[0]


@pytest.fixture
def interrupted(bench, chance, tmp_path):
    """A run's folder in the middle of its training."""
    experiments.interrupt(bench, chance, tmp_path, signal.SIGTERM, finish=False)
    return only(tmp_path)


def change(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


def test_another_versions_training_does_not_go_on(interrupted, train):
    change(interrupted / "last.ckpt", lambda checkpoint: checkpoint["ensembles"].pop("format"))
    before = (interrupted / "last.ckpt").read_bytes()
    said = sentence(train())
    assert "last.ckpt was written by another version of this program" in said and "force=true" in said
    assert (interrupted / "last.ckpt").read_bytes() == before
    assert train("force=true")[0] == 0
    assert (interrupted.with_name(f"{interrupted.name}.previous") / "last.ckpt").read_bytes() == before


def test_another_versions_finished_run_is_used(train, tmp_path):
    assert train()[0] == 0
    run = only(tmp_path)
    before = experiments.results(run)
    for name in ("last.ckpt", "best.ckpt"):
        change(run / name, lambda checkpoint: checkpoint["ensembles"].pop("format"))
    change(run / "last.ckpt", lambda checkpoint: [checkpoint.pop("losses"), checkpoint["callbacks"].clear()])
    assert experiments.results(run) == before and train()[0] == 0
    (run / "results.json").unlink()
    assert train()[0] == 0
    assert experiments.results(run) == before


def test_a_checkpoint_that_carries_code_is_not_loaded(bench, interrupted, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    checkpoint = torch.load(interrupted / "last.ckpt", weights_only=True)
    torch.save(checkpoint | {"ensembles": Hostile()}, interrupted / "last.ckpt")
    said = bench.run(tmp_path)
    assert (
        "last.ckpt carries code or is no checkpoint, so it was not loaded: training goes on from previous.ckpt" in said
    )
    assert not (tmp_path / "ran").exists()
    assert bench.lost(tmp_path) == []


def test_a_damaged_best_checkpoint(train, tmp_path):
    assert train()[0] == 0
    run = only(tmp_path)
    (run / "results.json").unlink()
    with open(run / "best.ckpt", "r+b") as file:
        file.truncate(1000)
    said = sentence(train())
    assert "best.ckpt cannot be read" in said and "test_on=last" in said and "force=true" in said
    assert train("test_on=last")[0] == 0


def test_a_folder_that_can_only_be_read(zygote, tmp_path):
    """By a mount where that is allowed, as it is to root, whom permissions do not stop."""
    with small_disk(tmp_path / "runs", 100_000) as (limit, _):
        if limit:
            os.chmod(tmp_path / "runs", 0o555)
        else:
            subprocess.run(["mount", "-o", "remount,ro", tmp_path / "runs"], check=True)
        started = zygote.start(*RUN, folder=tmp_path)
        assert started.wait() == 1
        (said,) = started.said.strip().splitlines()
        assert "The run folder runs/digits-" in said and "cannot be written (" in said and "set runs_dir." in said
        assert not list((tmp_path / "runs").iterdir())


FULL = """
from ensembles import evaluation
write = evaluation.write_results
def on_a_full_disk(run, *arguments):
    {fill}
    return write(run, *arguments)
evaluation.write_results = on_a_full_disk
"""
FILL = """
    with open(run.folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
"""


def test_a_disk_that_is_full_when_there_are_results(bench, tmp_path):
    """Not when the training began: it is kept, and only the evaluation is done again."""
    with small_disk(tmp_path / "runs", 3_000_000) as (limit, grow):
        fill = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, -1))" if limit else FILL.strip()
        started = bench.start(tmp_path, before=FULL.format(fill=fill))
        assert started.wait() == 1
        (said,) = started.said.strip().splitlines()
        assert "cannot be written (" in said or "Cannot write " in said
        run = only(tmp_path)
        trained = (run / "last.ckpt").stat().st_mtime_ns
        (run / "filler").unlink(missing_ok=True)
        grow()
        bench.run(tmp_path)
        assert bench.lost(tmp_path) == []
        assert (run / "last.ckpt").stat().st_mtime_ns == trained
