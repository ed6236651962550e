"""From a batch of picks to a batch of images: gathered on its device, augmented, normalised, mixed and dealt."""

import torch
from torch import Tensor

from ensembles.data.base import DataModule
from ensembles.data.examples import Examples
from ensembles.data.loaders import Mixed, Picks


class ImageBatches(DataModule):
    """Batches of images.

    After Lightning's transfer a batch is (x, y): x float32, normalised, (B, C, H, W) or (M, B, C, H, W) as ``deal`` has
    it, y (B,) or (M, B), in training with ``mix`` (..., K) probabilities; in out-of-distribution sets y is -1.
    """

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Fill in the images of a batch of picks, on its device; other batches pass."""
        if not isinstance(batch, Picks):
            return batch
        x, labels, dealt = self.normalise(self.pixels(batch)), batch.labels, batch.labels.shape
        where = None if batch.where is None else batch.where.flatten()
        if batch.mixed is not None:
            x, probabilities = self._mix(x, batch.mixed)
            labels = (probabilities if where is None else probabilities.index_select(0, where)).view(*dealt, -1)
        if where is not None:
            x = x.index_select(0, where)
        return x.view(*dealt, *x.shape[1:]), labels

    def pixels(self, batch: Picks, examples: Examples | None = None) -> Tensor:
        """The images of a batch, changed or augmented as they must be, uint8 (U, C, H, W)."""
        examples = self.sets[batch.set] if examples is None else examples
        if batch.pixels is not None:
            images = batch.pixels
        else:
            images = examples.images.gather(batch.index)
            if batch.drawn is not None:
                images = self.augment(images, batch.drawn)
        return images if examples.change is None else examples.change(images, batch.start)

    def normalise(self, images: Tensor) -> Tensor:
        """Float32 of mean 0 and deviation 1 over the training part, from uint8, both (B, C, H, W)."""
        mean, std = torch.tensor([self.mean, self.std], device=images.device).view(2, -1, 1, 1)
        return images.float().mul_(1 / (255 * std)).sub_(mean / std)

    def _mix(self, x: Tensor, mixed: Mixed) -> tuple[Tensor, Tensor]:
        own, partner, labels, drawn = mixed
        others, other_labels = x.index_select(0, partner), labels[partner]
        if own is not None:
            x, labels = x.index_select(0, own), labels[own]
        return self.mix(x, others, drawn), self.mix.labels(x, labels, other_labels, drawn, self.num_classes)
