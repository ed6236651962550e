"""The members' logits on whole sets, out of a loop over batches."""

from collections.abc import Callable

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ensembles.training.gather import gather


class Collector(Callback):
    """Hand over each set that is validated or tested on as soon as its last batch is through.

    Args:
        take: called in every process with the set's name and all processes' logits (M, N, K) and labels (N,).
    """

    def __init__(self, take: Callable[[str, Tensor, Tensor], None]) -> None:
        self.take = take
        self._parts: list[tuple[Tensor, Tensor]] = []

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, logits: Tensor, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._collect("val", logits, batch[1], last=batch_idx + 1 == trainer.num_val_batches[dataloader_idx])

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, logits: Tensor, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        name = list(trainer.datamodule.test_sets)[dataloader_idx]
        self._collect(name, logits, batch[1], last=batch_idx + 1 == trainer.num_test_batches[dataloader_idx])

    def _collect(self, name: str, logits: Tensor, labels: Tensor, last: bool) -> None:
        self._parts.append((logits, labels))
        if last:
            parts, self._parts = self._parts, []
            self.take(name, *gather(parts))
