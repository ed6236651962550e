import json

import pytest
import torch

from tests.slurm.launching import assert_same, shown, slurm, until

pytestmark = pytest.mark.slurm
STEPS = 10  # of an epoch: 320 images in batches of 32


def test_a_time_limit_a_signal_and_a_preemption_lose_no_step(launch, undisturbed):
    limits = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=1", "hydra.launcher.partition=urgent")
    limited = launch("1.7", "seed=0", "recipe.epochs=4", *limits)  # a minute of steps
    preempted = launch("0.3,1", "seed=1", "recipe.epochs=2")
    run = preempted.run(1)

    job = preempted.caught(run, 3)
    slurm("scancel", "--signal=USR2", job)
    until(lambda: shown(job)["Restarts"] == "1", "requeue after the signal")
    preempted.caught(run, 6)
    slurm("sbatch", "--partition=urgent", "--ntasks=3", "--output=/dev/null", "--wrap=sleep 1")
    until(lambda: shown(job)["Restarts"] == "2", "requeue after the preemption")

    for launching, seed, epochs in ((preempted, 1, 2), (limited, 0, 4)):
        code, out = launching.ended()
        assert code == 0, out
        run = launching.run(seed)
        assert launching.steps(run) == epochs * STEPS
        undisturbed(f"seed={seed}", f"recipe.epochs={epochs}")
        assert_same(run, launching.folder / "undisturbed" / run.name)
    assert int(shown(limited.job(limited.run(0)))["Restarts"]) >= 1  # more where the machine is slow


def test_two_tasks_that_srun_starts_train_as_one_process_also_after_a_signal(launch, undisturbed):
    arguments = ("seed=2", "recipe.epochs=2", "model.dropout=0")
    launching = launch("0.3", "trainer.devices=2", "strategy=ddp", *arguments)
    run = launching.run(2)
    slurm("scancel", "--signal=USR2", launching.caught(run, 3))
    code, out = launching.ended()
    assert code == 0, out
    assert shown(launching.job(run))["Restarts"] == "1"
    assert (launching.folder / f"steps-{launching.job(run)}-1").stat().st_size == launching.steps(run) == 2 * STEPS
    undisturbed(*arguments)
    alone = launching.folder / "undisturbed" / run.name
    ours, theirs = (torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (run, alone))
    torch.testing.assert_close(ours, theirs)
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (run, alone))
    for key in ("test/acc", "test/nll", "test/ece", "ood/photos/entropy/auroc"):
        assert ours[key] == pytest.approx(theirs[key], abs=1e-4), key
