"""A loss that is no number stops the training before anything good is overwritten."""

import re

import pytest
import torch

from tests.conftest import one_sentence
from tests.faults.experiments import RUN, only

DIVERGES = ("method=deterministic", "recipe.optimizer.lr=1e18", "recipe.warmup_epochs=0.5")


@pytest.mark.parametrize("minutes", [0, 10])
def test_a_loss_that_is_no_number(train, tmp_path, minutes):
    said = one_sentence(train(*RUN, *DIVERGES, f"runtime.save_minutes={minutes}"))
    assert "try a smaller recipe.optimizer.lr" in said and "epoch 1" in said and re.search(r"step \d+", said)
    last = only(tmp_path) / "last.ckpt"
    if minutes:  # the first checkpoint would have been that of the first epoch
        assert re.search(r"The loss was (nan|inf) in epoch 1, step \d+, at a learning rate of \d", said)
        assert not last.exists()
    else:
        weights = torch.load(last, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in weights.values())


def test_the_step_and_its_learning_rate(train, tmp_path, monkeypatch):
    """The loss of the 7th step of the second epoch is made infinite: that is the step that is named."""
    from ensembles.methods import Method

    step = Method.training_step

    def diverge(self, batch):
        wrong = (self.trainer.current_epoch, self.trainer.fit_loop.batch_idx) == (1, 6)
        return step(self, batch) * (float("inf") if wrong else 1)

    with monkeypatch.context() as patch:
        patch.setattr(Method, "training_step", diverge)
        said = one_sentence(train(*RUN, "runtime.save_minutes=10"))
    assert "The loss was inf in epoch 2, step 7" in said
