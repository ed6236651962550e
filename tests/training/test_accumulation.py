"""Gradients that are gathered over several batches are in no checkpoint: a training stops only when they are used."""

import os
import signal
from pathlib import Path

import pytest
import torch

from ensembles.methods import Method

GATHERED = ("+trainer.accumulate_grad_batches=3", "recipe.batch_size=9", "runtime.save_minutes=0")  # 11 batches


def weights(where):
    (found,) = Path(where).glob("*/last.ckpt")
    return torch.load(found, weights_only=True)["state_dict"]


def asked_to_end(batch):
    """A training step in which SIGTERM comes from such a batch on."""
    step, before = Method.training_step, iter(range(batch - 1))

    def training_step(self, batch):
        if next(before, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    return training_step


@pytest.mark.slow
@pytest.mark.parametrize("within", [(), ("+trainer.val_check_interval=5",)], ids=["epochs", "within epochs"])
def test_a_training_is_stopped_at_any_batch(tiny, monkeypatch, within):
    arguments = (*GATHERED, *within)
    assert tiny(*arguments, "runs_dir=undisturbed").code == 0
    undisturbed = weights("undisturbed")
    for batch in (1, 2, 4, 11, 13):
        with monkeypatch.context() as patch:
            patch.setattr(Method, "training_step", asked_to_end(batch))
            ended = tiny(*arguments, f"runs_dir=stopped{batch}")
        assert ended.code == 143 and "the same command goes on from there" in ended.err
        assert tiny(*arguments, f"runs_dir=stopped{batch}").code == 0
        found = weights(f"stopped{batch}")
        assert all(torch.equal(value, found[key]) for key, value in undisturbed.items()), batch
