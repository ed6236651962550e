"""A named set of examples: which images, from which pool, with which labels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from torch import Tensor


class Pool(ABC):
    """Images that several sets of examples share, wherever they are kept."""

    @abstractmethod
    def gather(self, index: Tensor) -> Tensor:
        """The images at ``index`` (B,), as uint8 (B, C, H, W) on the index's device."""

    def feed(self, loader: Iterable, workers: int) -> Iterable:
        """The loader's batches, with what takes long already done to them in worker processes."""
        return loader


@dataclass(frozen=True)
class Examples:
    """A named set.

    Attributes:
        images: the pool that its images are in.
        index: (n,) where they are there.
        labels: (n,); -1 where there is no label.
        change: what is done to a batch of its images, uint8 (B, C, H, W), given the position of the first; or None.
    """

    images: Pool
    index: Tensor
    labels: Tensor
    change: Callable[[Tensor, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.index)

    def subset(self, positions: Tensor) -> "Examples":
        return replace(self, index=self.index[positions], labels=self.labels[positions])
