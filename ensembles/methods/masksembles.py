"""Masksembles (Durasov et al., 2021)."""

from ensembles import dealing
from ensembles.members import masksembles
from ensembles.methods.base import Backbone, Method


class Masksembles(Method):
    """One network behind M fixed masks over channels; the loss is the mean over members.

    Args:
        M, scale: as `ensembles.masksembles` takes them.
        deal: each member sees the ``whole`` batch, or members see ``shares`` of it.
    """

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 4,
        scale: float = 2.0,
        deal: str = "whole",
        reduction: str = "mean",
    ) -> None:
        super().__init__(masksembles(backbone, M, scale, input_shape), dealing.whole_or_shares(deal, M), reduction)
