"""Dropout's masks in training."""

import pytest
import pytorch_lightning as pl
import torch

from ensembles.backbones import small_cnn
from ensembles.data import Digits
from ensembles.methods import Dropout
from ensembles.training.recipe import Recipe


class Salts(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append(module.ensemble.salt)


def salts(seed):
    method = Dropout(lambda: small_cnn(10, in_channels=1, image_size=8), (1, 8, 8))
    method.recipe = Recipe(lambda groups: torch.optim.SGD(groups, lr=0.1), 2, 8, lambda done, of: 1.0)
    seen = Salts()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=2, limit_train_batches=2, accelerator="cpu", callbacks=seen, enable_model_summary=False, **quiet
    )
    trainer.fit(method, Digits(batch_size=8, seed=seed, val_fraction=0))
    return seen.seen


@pytest.mark.filterwarnings("ignore")
def test_follow_from_seed_epoch_and_step():
    first = salts(seed=0)
    assert len(set(first)) == 4
    assert salts(seed=0) == first
    assert not set(salts(seed=1)) & set(first)
