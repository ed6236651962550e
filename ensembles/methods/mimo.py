"""MIMO (Havasi et al., 2021)."""

from typing import Literal

from torch.nn.modules.batchnorm import _BatchNorm

from ensembles import dealing
from ensembles.backbones.trace import LAYERS
from ensembles.limits import require
from ensembles.members import mimo
from ensembles.methods.base import Backbone, Method
from ensembles.methods.groups import apart


class MIMO(Method):
    """M subnetworks of one network, each on its own shuffle of the batch.

    Args:
        M: number of subnetworks.
        rho: share of positions where all subnetworks see the same example (section 3.5, input repetition).
        batch_repetition: times that each example stands in a step (section 3.5).
        penalty: what the recipe's l1 and l2 act on: ``all`` parameters, or ``layers``, as in the released code of
            appendix C: weights of layers and the last layer's bias, M times as strong in the first and the last layer,
            since these have M times the weights.
        norm_l2: with ``layers``, the L2 penalty of batch norms, which the recipe's do not act on.
    """

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 3,
        rho: float = 0.0,
        batch_repetition: int = 4,
        reduction: str = "sum",
        penalty: Literal["all", "layers"] = "all",
        norm_l2: float = 0,
    ) -> None:
        require("method.", rho=rho, batch_repetition=batch_repetition, penalty=penalty, norm_l2=norm_l2)
        super().__init__(mimo(backbone, M, input_shape), dealing.mimo(M, rho, batch_repetition), reduction)
        self.penalty, self.norm_l2 = penalty, norm_l2

    def parameter_groups(self) -> list[dict]:
        if self.penalty == "all":
            return super().parameter_groups()
        network = self.ensemble.network
        first, last = (network.get_submodule(name) for name in (self.ensemble.first, self.ensemble.last))
        ends = dict.fromkeys([first.weight, *last.parameters()])
        inner = [
            layer.weight for layer in network.modules() if isinstance(layer, LAYERS) and layer not in (first, last)
        ]
        norms = [p for norm in network.modules() if isinstance(norm, _BatchNorm) for p in norm.parameters()]
        l1, l2 = (self.ensemble.M * strength for strength in (self.recipe.l1, self.recipe.l2))
        return apart(
            self,
            {"params": inner},
            {"params": ends, "norms": False, "l1": l1, "l2": l2},
            {"params": norms, "norms": True, "l1": 0, "l2": self.norm_l2},
            others={"l1": 0, "l2": 0},
        )
