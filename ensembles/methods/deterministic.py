"""The single network that every ensemble is measured against."""

from ensembles.methods.base import Backbone, Method
from ensembles.methods.deep_ensemble import deep_ensemble


class Deterministic(Method):
    """One network trained with cross-entropy: an ensemble of M = 1."""

    def __init__(self, backbone: Backbone, input_shape: tuple[int, ...]) -> None:
        super().__init__(deep_ensemble(backbone, 1, input_shape))
