"""What all data sets do alike: which examples a step is made of, and how they become a batch on its device.

A training batch follows from (seed, epoch, step) and nothing else. So an epoch can be entered at any step, and one
process or several see the same examples with the same augmentation. Indices are drawn and sliced on the CPU; images are
gathered, augmented, normalised, mixed and dealt on the device.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning import LightningDataModule
from torch import Tensor

from ensembles.data.augment import CropFlip
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.mixing import Mix, partners
from ensembles.data.sources import BatchIndices, MixedPairs
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.limits import require
from ensembles.rng import generator


class DataModule(LightningDataModule):
    """Labelled sets by name; a subclass fills ``sets`` in ``setup``.

    After Lightning's transfer a batch is (x, y): x float32, normalised, (B, C, H, W) or (M, B, C, H, W) as ``deal`` has
    it, y (B,) or (M, B), in training with ``mix`` (..., K) probabilities; in out-of-distribution sets y is -1.

    Args:
        batch_size: unique examples of a training step, over all processes.
        seed: of data order and dealing.
        eval_batch_size: examples of an evaluation batch in one process.

    Attributes:
        deal: which examples each member sees in a training step.
        sets: the labelled sets by name after ``setup``.
        class_names: of a classification's K classes.
        num_classes: K, or of a regression the outputs that a network must have.
        in_channels, image_size: of an input; a point is an image of one pixel with a channel for each feature.
        mean, std: of each channel, by which inputs are normalised.
        trained_scale: a checkpoint's mean and std, which normalise in their place where a trained network is evaluated.
        augment, mix: of training batches; None for none.
        view_settings: what `ensembles.data.imagenet_views.centre` is to be told, where image files are seen through it.
        target_scale: of a regression, what its likelihood is told of the targets: ``target_mean`` and ``target_sd``.

    Raises:
        UserError: a setting out of its limits.
    """

    class_names: Sequence[str]
    num_classes: int
    in_channels: int
    image_size: int
    mean: list[float]
    std: list[float]
    trained_scale: tuple[list[float], list[float]] | None = None
    augment: CropFlip | None = None
    mix: Mix | None = None
    view_settings: dict | None = None
    target_scale: Mapping[str, float] = MappingProxyType({})

    def __init__(self, batch_size: int, seed: int, eval_batch_size: int) -> None:
        super().__init__()
        require("recipe.", batch_size=batch_size)
        require(seed=seed)
        require("data.", eval_batch_size=eval_batch_size)
        self.batch_size, self.seed, self.eval_batch_size = batch_size, seed, eval_batch_size
        self.deal = Deal()
        self.sets: dict[str, LabelledSet] = {}

    @property
    def test_sets(self) -> dict[str, int]:
        """Name and size of each set that ``test_dataloader`` lists, in its order."""
        return {name: len(labelled) for name, labelled in self.sets.items() if name not in ("train", "val")}

    @property
    def epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    @property
    def steps_done(self) -> int:
        """Training steps of the epoch that lie behind."""
        return self.trainer.fit_loop.batch_idx + 1 if self.trainer else 0

    @property
    def rank_and_processes(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def workers(self) -> int:
        """Processes that prepare inputs for this one."""
        return 0

    def train_dataloader(self) -> Iterable[BatchIndices]:
        """Load the training part as the method that is trained deals it."""
        self.deal = getattr(getattr(self.trainer, "lightning_module", None), "deal", self.deal)
        return self.sets["train"].images.prefetch(TrainLoader(self), self.workers)

    def val_dataloader(self) -> Iterable[BatchIndices]:
        """Load the validation part in its order; an empty list where there is none, since Lightning refuses None."""
        return self.eval_dataloader("val", self.sets["val"]) if "val" in self.sets else []

    def test_dataloader(self) -> list[Iterable[BatchIndices]]:
        return [self.eval_dataloader(name, self.sets[name]) for name in self.test_sets]

    def eval_dataloader(self, name: str, labelled: LabelledSet) -> Iterable[BatchIndices]:
        """Load any set in its order."""
        return labelled.images.prefetch(EvalLoader(self, name, labelled), self.workers)

    def transfer_batch_to_device(self, batch: object, device: torch.device, dataloader_idx: int) -> object:
        """Copy a batch from pinned memory where the device is a GPU, since such a copy waits for nothing."""
        if device.type == "cuda":
            batch = apply_to_collection(batch, Tensor, Tensor.pin_memory)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Fill the images into a batch of indices, on its device; other batches pass."""
        if not isinstance(batch, BatchIndices):
            return batch
        x, labels, dealt = self.normalise(self.pixels(batch)), batch.labels, batch.labels.shape
        where = None if batch.where is None else batch.where.flatten()
        if batch.mixed is not None:
            x, probabilities = self._mix(x, batch.mixed)
            labels = (probabilities if where is None else probabilities.index_select(0, where)).view(*dealt, -1)
        if where is not None:
            x = x.index_select(0, where)
        return x.view(*dealt, *x.shape[1:]), labels

    def pixels(self, batch: BatchIndices, labelled: LabelledSet | None = None) -> Tensor:
        """Gather the images of a batch, changed or augmented as they must be, uint8 (U, C, H, W)."""
        labelled = self.sets[batch.set] if labelled is None else labelled
        if batch.pixels is not None:
            images = batch.pixels
        else:
            images = labelled.images.gather(batch.index)
            if batch.drawn is not None:
                images = self.augment(images, batch.drawn)
        return images if labelled.transform is None else labelled.transform(images, batch.start)

    def normalise(self, images: Tensor) -> Tensor:
        """Scale to mean 0 and deviation 1 over the training part: float32 from uint8 or floats, (B, C, H, W)."""
        mean, std = self.trained_scale or (self.mean, self.std)
        mean, std, factor, offset = _normalisation(tuple(mean), tuple(std), images.device)
        if images.is_floating_point():  # a transform's, on the scale of mean and std
            return (images - mean) / std
        return images.float().mul_(factor).sub_(offset)

    def _mix(self, x: Tensor, mixed: MixedPairs) -> tuple[Tensor, Tensor]:
        own, partner, labels, drawn = mixed
        others, other_labels = x.index_select(0, partner), labels[partner]
        if own is not None:
            x, labels = x.index_select(0, own), labels[own]
        return self.mix(x, others, drawn), self.mix.labels(x, labels, other_labels, drawn, self.num_classes)


@cache  # numbers that come from Python wait for a GPU
def _normalisation(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Give mean, deviation, and what whole pixels are multiplied by and what is then subtracted, (C, 1, 1) each."""
    mean, std = torch.tensor([mean, std], device=device).view(2, -1, 1, 1)
    return mean, std, 1 / (255 * std), mean / std


class TrainLoader:
    """One epoch of training steps; the last partial batch is dropped, but a set smaller than a batch is one batch."""

    def __init__(self, data: DataModule) -> None:
        self.data = data
        self.labelled = data.sets["train"]
        self.batch_size = min(data.batch_size, len(self.labelled))
        self._orders: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labelled) // self.batch_size

    @property
    def first(self) -> int:
        """The step of the epoch that is next: not 0 where training goes on in the middle of one."""
        return self.data.steps_done

    def __iter__(self) -> Iterator[BatchIndices]:
        epoch = self.data.epoch
        for step in range(self.first, len(self)):
            yield self.batch(epoch, step)

    def batch(self, epoch: int, step: int) -> BatchIndices:
        """Draw this process's share of a step.

        Raises:
            UserError: the step's examples do not divide among the processes.
        """
        data, B = self.data, self.batch_size
        unique = self.orders(epoch)[:, step * B : (step + 1) * B]
        streams = len(unique)
        dealt = data.deal.positions(B, generator(data.seed, "deal", epoch, step))
        if streams > 1:
            dealt = dealt + B * torch.arange(streams)[:, None]
        drawn = None
        if data.augment is not None:
            drawn = data.augment.draw(streams * B, generator(data.seed, "augment", epoch, step))
        dealt = self._share(dealt)
        used, where = dealt.unique(return_inverse=True)
        if len(used) == dealt.numel():
            used, where = dealt.flatten(), None
        chosen = unique.flatten()
        mixed = None
        if data.mix is not None:
            used, mixed = self._mixed(used, chosen, generator(data.seed, "mix", epoch, step))
        return BatchIndices(
            set="train",
            index=self.labelled.index[chosen[used]],
            labels=self.labelled.labels[chosen[dealt]],
            drawn=None if drawn is None else drawn[used],
            where=where,
            mixed=mixed,
        )

    def orders(self, epoch: int) -> Tensor:
        """Draw the epoch's independent orders of the training set, (shuffles, n)."""
        key = epoch, self.data.deal.shuffles
        if self._orders is None or self._orders[0] != key:
            n, seed = len(self.labelled), self.data.seed
            streams = range(self.data.deal.shuffles)
            orders = [torch.randperm(n, generator=generator(seed, "order", epoch, stream)) for stream in streams]
            self._orders = key, torch.stack(orders)
        return self._orders[1]

    def _mixed(self, used: Tensor, chosen: Tensor, drawing: torch.Generator) -> tuple[Tensor, MixedPairs]:
        """Find the positions whose images are needed for those that are used, and how to mix them."""
        partner = partners(self.batch_size, len(chosen) // self.batch_size)[used]
        needed = torch.cat([used, partner]).unique()
        return needed, MixedPairs(
            own=None if torch.equal(needed, used) else torch.searchsorted(needed, used),
            partner=torch.searchsorted(needed, partner),
            labels=self.labelled.labels[chosen[needed]],
            drawn=self.data.mix.draw(drawing),
        )

    def _share(self, dealt: Tensor) -> Tensor:
        rank, processes = self.data.rank_and_processes
        total = dealt.shape[-1]
        if total % processes:
            raise UserError(
                f"A step's {total} examples do not divide among {processes} processes: "
                f"set recipe.batch_size to a multiple of {processes} that the training set can fill."
            )
        return dealt[..., rank * (total // processes) : (rank + 1) * (total // processes)]


class EvalLoader:
    """A set in its order. Each process has a contiguous slice, uneven where it must be: nothing is padded or dropped.

    All processes have the same number of batches, whose sizes differ by one at most, since a wrapped network (DDP while
    training, FSDP always) communicates in every forward pass.
    """

    first = 0

    def __init__(self, data: DataModule, name: str, labelled: LabelledSet) -> None:
        self.data, self.name, self.labelled = data, name, labelled

    def __len__(self) -> int:
        _, processes = self.data.rank_and_processes
        largest_slice = -(-len(self.labelled) // processes)
        return -(-largest_slice // self.data.eval_batch_size)

    def __iter__(self) -> Iterator[BatchIndices]:
        rank, processes = self.data.rank_and_processes
        n, batches = len(self.labelled), len(self)
        first = n * rank // processes
        size = n * (rank + 1) // processes - first
        for batch in range(batches):
            part = slice(first + size * batch // batches, first + size * (batch + 1) // batches)
            yield BatchIndices(self.name, self.labelled.index[part], self.labelled.labels[part], start=part.start)
