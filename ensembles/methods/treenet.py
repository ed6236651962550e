"""TreeNet (Lee et al., 2015), the baseline of MIMO (Havasi et al., 2021, section 3.2)."""

from ensembles.members import treenet
from ensembles.methods.base import Backbone, Method


class TreeNet(Method):
    """A shared trunk with M branches, all trained on the same batch.

    Args:
        M: number of branches.
        split: name of the backbone's module with which the branches begin; None as `ensembles.treenet` finds it.
    """

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 4,
        split: str | None = None,
        reduction: str = "sum",
    ) -> None:
        super().__init__(treenet(backbone, M, split, input_shape), reduction=reduction)
