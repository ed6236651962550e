import os
import signal

import pytest

from tests.slurm.launching import assert_same

pytestmark = pytest.mark.slurm


def test_jobs_on_this_machine_go_on_after_the_signal_that_asks_for_another_turn(launch, undisturbed):
    arguments = ("seed=3,4", "recipe.epochs=2", "hydra.sweeper.max_batch_size=2")
    launching = launch("0.2", *arguments, launcher="submitit_local")
    runs = [launching.run(seed) for seed in (3, 4)]
    launching.caught(runs[0], 3)
    os.kill(int((runs[0] / "lock").read_text().split()[1]), signal.SIGUSR2)
    code, out = launching.ended()
    assert code == 0, out
    assert out.count(" done") == 2
    assert [launching.steps(run) for run in runs] == [20, 20]
    undisturbed("seed=3", arguments[1])
    assert_same(runs[0], launching.folder / "undisturbed" / runs[0].name)
