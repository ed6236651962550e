import sys

import pytest
from hydra import compose

from ensembles import cluster
from ensembles.cli.composing import composing
from ensembles.cluster import SubmittedJob, job_settings
from ensembles.errors import UserError
from ensembles.runs import Run
from tests.conftest import TINY

CPU = "trainer.accelerator=cpu"


def settings(*overrides):
    with composing():
        return job_settings(compose("train", overrides, return_hydra_config=True))


@pytest.mark.parametrize(
    ("cluster", "nodes", "devices", "memory"),
    [("slurm_1gpu", 1, 1, 60), ("slurm_node", 1, 8, 480), ("slurm_2nodes", 2, 8, 480)],
)
def test_presets_ask_for_what_the_run_uses(cluster, nodes, devices, memory):
    found = settings(f"cluster={cluster}")
    assert (found["nodes"], found["tasks_per_node"], found["gpus_per_node"]) == (nodes, devices, devices)
    assert found["mem_gb"] == memory
    with composing():
        config = compose("train", [f"cluster={cluster}"])
    assert (config.trainer.num_nodes, config.trainer.devices) == (nodes, devices)
    assert ("_target_" in config.strategy) == (devices > 1)


def test_a_job_follows_what_the_user_wants_of_the_run():
    found = settings("cluster=slurm_2nodes", "trainer.devices=4", "strategy=fsdp", "hydra.launcher.partition=gpu")
    assert (found["nodes"], found["tasks_per_node"], found["gpus_per_node"], found["mem_gb"]) == (2, 4, 4, 240)
    assert found["partition"] == "gpu"
    assert settings("hydra/launcher=submitit_slurm", CPU, "trainer.devices=2")["gpus_per_node"] is None
    assert settings("hydra/launcher=submitit_slurm", "trainer.devices=2")["tasks_per_node"] == 2
    assert settings("hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=3")["at_a_time"] == 3
    assert settings() is None


CONTRADICTIONS = {
    "hydra.launcher.tasks_per_node=4": ("tasks_per_node=4", "trainer.devices=8"),
    "hydra.launcher.gpus_per_node=4": ("gpus_per_node=4", "trainer.devices=8"),
    "hydra.launcher.nodes=2": ("nodes=2", "trainer.num_nodes=1"),
    "strategy=single": ("trainer.devices=8", "strategy=ddp"),
    "hydra.launcher.mem_per_gpu=40G": ("mem_gb=480", "mem_per_gpu=40G"),
    "hydra.launcher.timeout_min=2": ("timeout_min=2", "signal_delay_s=120"),
    "hydra.launcher.timeout_min=1h": ("timeout_min", "integer"),
    "hydra.launcher.timout_min=60": ("timout_min", "timeout_min"),
}


@pytest.mark.parametrize("override", CONTRADICTIONS)
def test_contradictions_are_told_in_a_sentence_before_anything_is_submitted(train, tmp_path, override):
    ended = train("-m", "cluster=slurm_node", override)
    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert all(part in line for part in CONTRADICTIONS[override]), line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cluster=slurm_node",), "add -m"),
        (("-m", "hydra/launcher=submitit_slurm", CPU, "hydra.launcher.gpus_per_node=1"), "trainer.accelerator=cpu"),
        (("-m", "hydra/launcher=submitit_local", "trainer.num_nodes=2", "strategy=ddp"), "submitit_slurm"),
        (("-m", "hydra/launcher=submitit_slrum"), "did you mean submitit_slurm"),
    ],
)
def test_jobs_that_cannot_be(train, arguments, said):
    ended = train(*arguments)
    assert ended.code == 1
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_without_submitit_or_slurm_the_command_says_what_is_missing(train, monkeypatch):
    monkeypatch.setenv("PATH", "")
    ended = train("-m", "hydra/launcher=submitit_slurm", *TINY)
    assert ended.code == 1
    assert "there is no sbatch on this machine" in ended.err
    monkeypatch.setitem(sys.modules, "submitit", None)
    ended = train("-m", "hydra/launcher=submitit_local", *TINY)
    assert ended.code == 1
    assert "pip install 'submitit>=1.5'" in ended.err


def test_where_squeue_does_not_answer_no_job_is_submitted_twice(tmp_path, monkeypatch):
    asked, unfinished = {"cluster": "slurm"}, Run({"force": False}, tmp_path / "run")
    monkeypatch.setattr(Run, "results", lambda run: None if run == unfinished else {})
    monkeypatch.setattr(cluster, "_asked", lambda *command: None)
    SubmittedJob(unfinished, "5_2", "log").keep()
    with pytest.raises(UserError, match=r"squeue does not answer, .* whether job 5_2 still works on .*/run: give"):
        cluster.submit([(asked, unfinished)], tmp_path)
    finished = Run({"force": False}, tmp_path / "finished")
    SubmittedJob(finished, "5_1", "log").keep()
    cluster.submit([(asked, finished)], tmp_path)
    fresh = Run({"force": False}, tmp_path / "fresh")
    monkeypatch.setattr(Run, "results", lambda run: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"no sbatch"):  # so it would have been submitted
        cluster.submit([(asked, fresh)], tmp_path)
