"""What every ensemble is: one input, M members' logits."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module, ABC):
    """M networks of one architecture, however their weights are stored.

    Attributes:
        M: number of members.
        input_shape: shape of one input, (C, H, W) for images.
    """

    M: int
    input_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) of all members on a common batch (B, *input_shape)."""

    @abstractmethod
    def each(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) where member m sees its own batch ``x[m]``, of (M, B, *input_shape)."""

    @abstractmethod
    def member(self, m: int) -> nn.Module:
        """Member m as an ordinary network, (B, *input_shape) -> (B, K)."""

    def own_parameters(self) -> Iterable[nn.Parameter]:
        """Stored parameters of which each member has an equal part of its own; all members share the others."""
        return ()

    def predict(self, x: Tensor) -> Tensor:
        """Predictive probabilities (B, K): the mean of the members' softmax."""
        return torch.softmax(self(x), dim=-1).mean(dim=0)
