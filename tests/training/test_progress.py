"""The bar counts epochs as everything else does, and shows the last one's numbers."""

import io
from types import SimpleNamespace

import torch
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TextColumn

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


def test_the_bar_and_its_numbers_have_one_line_of_a_narrow_terminal():
    numbers = TextColumn("loss: 0.123 val acc: 0.979")  # as Lightning writes them
    console = Console(width=80, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    bars = Bars(*Progress().configure_columns(None), numbers, console=console, auto_refresh=False)
    bars.add_task("Epoch 100/100", total=1000, completed=1000)
    lines = console.render_lines(bars.get_renderable())
    assert len(lines) == 1
    assert "val acc: 0.979" in "".join(segment.text for segment in lines[0])
