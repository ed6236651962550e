"""MIMO (Havasi et al., 2021)."""

from ensembles import dealing
from ensembles.limits import require
from ensembles.members import mimo
from ensembles.methods.base import Backbone, Method


class MIMO(Method):
    """M subnetworks of one network, each on its own shuffle of the batch.

    Args:
        M: number of subnetworks.
        rho: share of positions where all subnetworks see the same example (section 3.5, input repetition).
        batch_repetition: times that each example stands in a step (section 3.5).
    """

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 3,
        rho: float = 0.0,
        batch_repetition: int = 4,
        reduction: str = "sum",
    ) -> None:
        require(rho=rho, batch_repetition=batch_repetition)
        super().__init__(mimo(backbone, M, input_shape), dealing.mimo(M, rho, batch_repetition), reduction)
