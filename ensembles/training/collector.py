"""What is evaluated, set by set, out of a loop over batches."""

from collections.abc import Callable

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ensembles.training.gather import gather


class Collector(Callback):
    """Hand over each set that is validated or tested on as soon as its last batch is through.

    Args:
        take: called in every process with the set's name and all processes' logits (M, N, K) and labels (N,).
        metric: from a set's name and its first logits (M, b, K) to what reduces its batches instead, or None.
        take_reduced: called in every process with the set's name and what its metric has computed over all processes.
    """

    def __init__(
        self,
        take: Callable[[str, Tensor, Tensor], None],
        metric: Callable[[str, Tensor], Metric | MetricCollection | None] = lambda name, logits: None,
        take_reduced: Callable[[str, dict[str, Tensor]], None] = lambda name, values: None,
    ) -> None:
        self.take, self.metric, self.take_reduced = take, metric, take_reduced
        self._parts: list[tuple[Tensor, Tensor]] = []
        self._metric: Metric | MetricCollection | None = None

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, logits: Tensor, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        batches = trainer.num_val_batches[dataloader_idx]
        self._collect("val", logits, batch[1], first=batch_idx == 0, last=batch_idx + 1 == batches)

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, logits: Tensor, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        name = list(trainer.datamodule.test_sets)[dataloader_idx]
        batches = trainer.num_test_batches[dataloader_idx]
        self._collect(name, logits, batch[1], first=batch_idx == 0, last=batch_idx + 1 == batches)

    def _collect(self, name: str, logits: Tensor, labels: Tensor, first: bool, last: bool) -> None:
        if first:
            self._metric = self.metric(name, logits)
        if self._metric is None:
            self._parts.append((logits, labels))
        else:
            self._metric.update(logits, labels)
        if last and self._metric is None:
            parts, self._parts = self._parts, []
            self.take(name, *gather(parts))
        elif last:
            self.take_reduced(name, self._metric.compute())
            self._metric = None
