"""The bar counts epochs as everything else does, and shows the last one's numbers."""

from types import SimpleNamespace

import torch

from ensembles.training.trainer import Progress


def test_the_bar_counts_epochs_from_one_and_shows_loss_and_accuracy():
    bar, trainer = Progress(), SimpleNamespace(max_epochs=3)
    trainer.callback_metrics = {
        "train/loss": torch.tensor(0.5),
        "val/acc": torch.tensor(0.75),
        "val/ece": torch.tensor(1),
    }
    bar._trainer = trainer
    assert [bar._get_train_description(epoch) for epoch in range(3)] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    assert bar.get_metrics(trainer, None) == {}
    bar.on_train_epoch_end(trainer, None)
    assert bar.get_metrics(trainer, None) == {"loss": 0.5, "val acc": 0.75}
