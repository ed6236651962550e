"""MixtureEnsembles."""

from ensembles.members import mixture
from ensembles.methods.base import Backbone, Method
from ensembles.methods.groups import apart


class Mixture(Method):
    """Members mixed from shared templates, each trained on the batch with its own loss (section 3.2).

    Mixing weights get no weight decay.

    Args:
        M, budget, templates, grouping, single_layer_banks, disjoint: as `ensembles.mixture` takes them.
    """

    keeps_pretrained = False

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 4,
        budget: float = 1.0,
        templates: int = 5,
        grouping: str = "shape",
        single_layer_banks: bool = False,
        disjoint: bool = False,
        reduction: str = "sum",
    ) -> None:
        ensemble = mixture(backbone, M, budget, templates, grouping, single_layer_banks, disjoint, input_shape)
        super().__init__(ensemble, reduction=reduction)

    def parameter_groups(self) -> list[dict]:
        return apart(self, {"params": self.ensemble.mixing_weights(), "weight_decay": 0.0})
