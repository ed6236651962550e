import os
import signal

import pytest

from tests.slurm.launching import assert_same, slurm

pytestmark = pytest.mark.slurm
EPOCHS, STEPS = 4, 10  # 320 images in batches of 32


def test_a_sweep_of_which_a_job_is_requeued_another_killed_and_the_launching_process_too(launch, undisturbed):
    arguments = ("seed=0,1,2,3", f"recipe.epochs={EPOCHS}")
    first = launch("0.2", *arguments)
    runs = [first.run(seed) for seed in range(4)]
    jobs = [first.job(run) for run in runs]
    first.process.kill()

    again = launch("0.2", *arguments)
    slurm("scontrol", "requeue", again.caught(runs[1], STEPS + 3))
    again.caught(runs[2], 3)
    os.kill(int((runs[2] / "lock").read_text().split()[1]), signal.SIGKILL)
    code, out = again.ended()
    assert code == 1
    assert f"Waiting for 4 jobs ({', '.join(jobs)}), submitted before" in out
    assert out.count(" done") == 3
    assert f"Job {jobs[2]} ended without results (FAILED); its log is" in " ".join(out.split())
    assert again.steps(runs[1]) == EPOCHS * STEPS  # the requeued job has lost none

    code, out = launch("0", *arguments).ended()
    assert code == 0, out
    assert "Started 1 job" in out
    assert out.count(" done") == 4
    undisturbed("-m", "seed=1,2", *arguments[1:])
    for run in runs[1:3]:
        assert_same(run, run.parents[1] / "undisturbed" / run.name)
