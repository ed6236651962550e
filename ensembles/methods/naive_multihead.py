"""Naive multi-head, the baseline of MIMO (Havasi et al., 2021, section 3.2)."""

from ensembles.members import naive_multihead
from ensembles.methods.base import Backbone, Method


class NaiveMultihead(Method):
    """M last layers on one body, all trained on the same batch.

    Args:
        M: number of last layers.
    """

    def __init__(self, backbone: Backbone, input_shape: tuple[int, ...], M: int = 4, reduction: str = "sum") -> None:
        super().__init__(naive_multihead(backbone, M, input_shape), reduction=reduction)
