"""A labelled set: images with what their labels mean; what some classes make up of it, and stratified parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ensembles.data.image_files import ImageFiles
from ensembles.data.sources import ImageSource, ImageTensor
from ensembles.rng import generator


@dataclass(frozen=True)
class LabelledSet:
    """A set of examples to train or to evaluate on.

    Attributes:
        images: the source that its images are in; it can be given as uint8 (N, C, H, W) or as the paths of N files.
        labels: (n,); -1 where there is no label, as everywhere if none are given; of a regression its targets.
        covered_classes: the classes that it has, where not all; several that count as one in it stand in a list of
            their own.
        valid_labels: (n, K), bool: the classes that are right for each image, where they are more than its label's own.
        groups: for frames of videos, the positions of each frame in question and of those like it, in this order.
        index: (n,) where its images are in the source; None for all, in their order.
        transform: what is done to a batch of its images, uint8 (B, C, H, W), given the position of the first; or None.
    """

    images: ImageSource | Tensor | Sequence[str | Path]
    labels: Tensor | None = None
    covered_classes: list[int | list[int]] | None = None
    valid_labels: Tensor | None = None
    groups: list[list[int]] | None = None
    index: Tensor | None = None
    transform: Callable[[Tensor, int], Tensor] | None = None

    def __post_init__(self) -> None:
        given = self.images
        if not isinstance(given, ImageSource):
            object.__setattr__(self, "images", ImageTensor(given) if isinstance(given, Tensor) else ImageFiles(given))
        if self.index is None:
            object.__setattr__(self, "index", torch.arange(len(self.images)))
        if self.labels is None:
            object.__setattr__(self, "labels", torch.full_like(self.index, -1))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def has_labels(self) -> bool:
        return not (self.labels < 0).any()

    @property
    def features(self) -> Tensor | None:
        """Of points, (n, D)."""
        return None if self.images.features is None else self.images.features[self.index]

    def subset(self, positions: Tensor) -> "LabelledSet":
        """Keep the examples at these positions, or where a mask says so, and the groups that remain whole."""
        kept = torch.arange(len(self))[positions]
        place = {old: new for new, old in enumerate(kept.tolist())} if self.groups is not None else {}
        return replace(
            self,
            index=self.index[kept],
            labels=self.labels[kept],
            valid_labels=None if self.valid_labels is None else self.valid_labels[kept],
            groups=self.groups
            and [[place[frame] for frame in group] for group in self.groups if all(frame in place for frame in group)],
        )

    def without_labels(self) -> "LabelledSet":
        """Keep the images alone, as of an out-of-distribution set."""
        return LabelledSet(self.images, index=self.index, transform=self.transform)

    def restrict(self, classes: Sequence[int], total: int) -> "LabelledSet":
        """Keep what is of some of the ``total`` classes, which are numbered anew in the order given.

        An image stays if one of these classes is right for it; a group of frames stays if all of them do.
        """
        new = {number: position for position, number in enumerate(classes)}
        alike = [[entry] if isinstance(entry, int) else entry for entry in self.covered_classes or range(total)]
        kept = [[new[number] for number in group if number in new] for group in alike]
        if self.valid_labels is None:
            counts_as = {number: rest[0] for group, rest in zip(alike, kept, strict=True) if rest for number in group}
            labels = torch.tensor([counts_as.get(number, -1) for number in range(total)])[self.labels]
            valid = None
            stay = labels >= 0
        else:
            valid = self.valid_labels[:, list(classes)]
            labels, stay = valid.int().argmax(1), valid.any(1)
        covered = [rest if len(rest) > 1 else rest[0] for rest in kept if rest]
        covered = None if len(covered) == len(classes) else covered
        return replace(self, labels=labels, valid_labels=valid, covered_classes=covered).subset(stay)

    def hold_out(self, share: float) -> tuple["LabelledSet", "LabelledSet"]:
        """Split into the rest and a stratified share."""
        held = torch.zeros(len(self), dtype=torch.bool)
        held[stratified(self.labels, round(share * len(self)), "val", spare=1)] = True
        return self.subset(~held), self.subset(held)


def stratified(labels: Tensor, size: int, purpose: str, least: int = 0, spare: int = 0) -> Tensor:
    """Choose the positions of a part in which each class has its share, in ascending order.

    The part depends on the labels and the purpose alone, and a smaller part lies within a larger one but for rounding.

    Args:
        labels: (N,) of integers from 0.
        size: examples in the part.
        purpose: parts for different purposes are drawn independently.
        least: examples that each class has in the part at least.
        spare: examples that each class has outside the part at least, where it has so many.
    """
    counts = labels.bincount()
    take = _shares(counts, size, counts.clamp(max=least), (counts - spare).clamp(min=0))
    groups = labels.argsort(stable=True).split(counts.tolist())
    chosen = [
        group[torch.randperm(len(group), generator=generator(purpose, label))[:number]]
        for label, (group, number) in enumerate(zip(groups, take.tolist(), strict=True))
    ]
    return torch.cat(chosen).sort().values


def _shares(counts: Tensor, size: int, low: Tensor, high: Tensor) -> Tensor:
    """Divide a size into integers in proportion to the counts, each within [low, high], as far as these allow it."""
    exact = counts.double() * size / counts.sum()
    take = exact.floor().long().clamp(min=low, max=high)
    while gap := size - take.sum().item():
        step = 1 if gap > 0 else -1
        lag = (exact - take) * step
        lag[(take + step < low) | (take + step > high)] = -torch.inf
        if lag.max() == -torch.inf:
            break
        take[lag.argmax()] += step
    return take
