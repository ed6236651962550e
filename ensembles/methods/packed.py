"""Packed-Ensembles (Laurent et al., 2023)."""

from ensembles.members import packed
from ensembles.methods.base import Backbone, Method


class Packed(Method):
    """M thin networks that see the same batches; the authors' loss is the mean over members.

    Args:
        M, alpha, gamma, min_channels: as `ensembles.packed` takes them.
    """

    keeps_pretrained = False

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 4,
        alpha: float = 2,
        gamma: int = 1,
        min_channels: int = 64,
        reduction: str = "mean",
    ) -> None:
        super().__init__(packed(backbone, M, alpha, gamma, min_channels, input_shape), reduction=reduction)
