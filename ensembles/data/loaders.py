"""Which examples a step is made of: batches of indices, drawn and sliced on the CPU and filled in on the device.

A training batch follows from (seed, epoch, step) and nothing else. So an epoch can be entered at any step, and one
process or several see the same examples with the same augmentation.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ensembles.data.examples import Examples
from ensembles.data.mixing import Drawn, partners
from ensembles.errors import UserError
from ensembles.keyed import generator

if TYPE_CHECKING:
    from ensembles.data.base import DataModule


class Mixed(NamedTuple):
    """How the images of a batch are mixed before they are dealt.

    Attributes:
        own: (D,) positions in the batch's images; None where they are 0, 1, 2, ...
        partner: (D,) positions of what each is mixed with.
        labels: (U,) of the batch's images.
        drawn: what was drawn for the step.
    """

    own: Tensor | None
    partner: Tensor
    labels: Tensor
    drawn: Drawn


class Picks(NamedTuple):
    """A batch before its images are in it.

    Attributes:
        set: the name of its set of examples.
        index: (U,) the images that it shows, in the set's pool.
        drawn: (U, P) what the augmentation drew for each, or None.
        where: (B,) or (M, B) positions in ``index``, or in what is mixed; None where they are 0, 1, 2, ...
        labels: (B,) or (M, B).
        start: the position of its first example in its set.
        mixed: how its images are mixed, or None.
        pixels: (U, C, H, W) its images, where they have been decoded already.
        broken: files of images that could not be decoded and that others stand in for.
    """

    set: str
    index: Tensor
    drawn: Tensor | None
    where: Tensor | None
    labels: Tensor
    start: int = 0
    mixed: Mixed | None = None
    pixels: Tensor | None = None
    broken: tuple[str, ...] = ()

    def with_stand_ins(self, stand_in: Tensor) -> "Picks":
        """The batch in which image ``stand_in[u]`` is shown, with its label, wherever image u was to be; (U,)."""
        if self.mixed is not None:
            own, partner = self.mixed.own, self.mixed.partner
            own = stand_in if own is None else stand_in[own]
            return self._replace(mixed=self.mixed._replace(own=own, partner=stand_in[partner]))
        where = torch.arange(self.labels.numel()).view_as(self.labels) if self.where is None else self.where
        labels = self.labels.new_empty(len(stand_in))
        labels[where.flatten()] = self.labels.flatten()
        where = stand_in[where]
        return self._replace(where=where, labels=labels[where])


class TrainLoader:
    """One epoch of training steps; the last partial batch is dropped, but a set smaller than a batch is one batch."""

    def __init__(self, data: "DataModule") -> None:
        self.data = data
        self.examples = data.sets["train"]
        self.batch_size = min(data.batch_size, len(self.examples))
        self._orders: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.examples) // self.batch_size

    @property
    def first(self) -> int:
        """The step of the epoch that is next: not 0 where training goes on in the middle of one."""
        return self.data.steps_done

    def __iter__(self) -> Iterator[Picks]:
        epoch = self.data.epoch
        for step in range(self.first, len(self)):
            yield self.batch(epoch, step)

    def batch(self, epoch: int, step: int) -> Picks:
        """This process's share of a step.

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
        return Picks(
            set="train",
            index=self.examples.index[chosen[used]],
            drawn=None if drawn is None else drawn[used],
            where=where,
            labels=self.examples.labels[chosen[dealt]],
            mixed=mixed,
        )

    def orders(self, epoch: int) -> Tensor:
        """The epoch's independent orders of the training set, (shuffles, n)."""
        key = epoch, self.data.deal.shuffles
        if self._orders is None or self._orders[0] != key:
            n, seed = len(self.examples), self.data.seed
            streams = range(self.data.deal.shuffles)
            orders = [torch.randperm(n, generator=generator(seed, "order", epoch, stream)) for stream in streams]
            self._orders = key, torch.stack(orders)
        return self._orders[1]

    def _mixed(self, used: Tensor, chosen: Tensor, drawing: torch.Generator) -> tuple[Tensor, Mixed]:
        """The positions that are needed for those that are used, and how to mix them."""
        partner = partners(self.batch_size, len(chosen) // self.batch_size)[used]
        needed = torch.cat([used, partner]).unique()
        return needed, Mixed(
            own=None if torch.equal(needed, used) else torch.searchsorted(needed, used),
            partner=torch.searchsorted(needed, partner),
            labels=self.examples.labels[chosen[needed]],
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

    def __init__(self, data: "DataModule", name: str, examples: Examples | None = None) -> None:
        self.data, self.name = data, name
        self.examples = data.sets[name] if examples is None else examples
        self.first = 0

    def __len__(self) -> int:
        _, processes = self.data.rank_and_processes
        largest_slice = -(-len(self.examples) // processes)
        return -(-largest_slice // self.data.eval_batch_size)

    def __iter__(self) -> Iterator[Picks]:
        rank, processes = self.data.rank_and_processes
        n, batches = len(self.examples), len(self)
        first = n * rank // processes
        size = n * (rank + 1) // processes - first
        for batch in range(batches):
            part = slice(first + size * batch // batches, first + size * (batch + 1) // batches)
            yield Picks(self.name, self.examples.index[part], None, None, self.examples.labels[part], start=part.start)
