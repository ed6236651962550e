"""MixtureEnsembles: members whose layers are mixes of templates that layers and members share."""

from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Literal

from torch import Tensor, nn

from ensembles.errors import UserError
from ensembles.limits import require
from ensembles.members.folded import Folded
from ensembles.members.fresh import Backbone, fresh
from ensembles.members.layers import layers
from ensembles.members.norms import NORMS, take
from ensembles.members.templates import Bank, FlatBank, by_shape, multiple


class Mixture(Folded):
    """Member i's weight of layer j is the sum of a_lij T_l over the layer's templates l (equation 2).

    Members share templates and biases, and have their own mixing weights and normalisation layers: batch norms as in
    the paper, and so layer and group norms, whose scales go with a member's features too.

    Attributes:
        banks: of groups whose layers are mixed.
        alone: names of the layers of each group that is one ordinary layer, shared by all members.
    """

    def __init__(
        self,
        network: nn.Module,
        M: int,
        input_shape: tuple[int, ...],
        budget: float,
        templates: int,
        grouping: Literal["shape", "flat"],
        single_layer_banks: bool,
        disjoint: bool,
    ) -> None:
        params = sum(parameter.numel() for parameter in network.parameters())
        share = multiple(budget, params)
        super().__init__(network, M, input_shape, NORMS)
        self.banks = nn.ModuleList()
        self.alone: list[list[str]] = []
        hands = M if disjoint else 1
        if grouping == "flat":
            self._mix_flat(floor(share * params), templates, hands)
        else:
            self._mix_by_shape(share, templates, hands, single_layer_banks)
            self._require_mixed()
            own = {id(parameter) for parameter in self.own_parameters()}
            shared = (parameter for parameter in self.parameters() if id(parameter) not in own)
            _require_budget(floor(share * params), sum(parameter.numel() for parameter in shared))
        self.layers = [layer for bank in self.banks for layer in bank.group]

    def folded(self, m: int) -> dict[str, Tensor]:
        return {name: weight for bank in self.banks for name, weight in bank.weights(m).items()}

    def mixing_weights(self) -> Iterator[nn.Parameter]:
        for bank in self.banks:
            yield bank.mixing

    def own_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.mixing_weights()
        yield from self.norms.parameters()

    def _mix_by_shape(self, share: Fraction, each: int, hands: int, single_layer_banks: bool) -> None:
        for group in by_shape(layers(self.network)):
            # The group's share of the budget over a layer's size is the budget in backbones times the group's layers.
            n = floor(share * len(group))
            if n < 2 or (len(group) == 1 and not single_layer_banks):
                self.alone.append([layer.name for layer in group])
                first = take(self.network, *(layer.weight for layer in group))[0]
                for layer in group:
                    owner, _, key = layer.weight.rpartition(".")
                    setattr(self.network.get_submodule(owner), key, first)
            else:
                weights = take(self.network, *(layer.weight for layer in group))
                self.banks.append(Bank(group, weights, self.M, min(n, each * len(group) * hands), each, hands > 1))

    def _mix_flat(self, budget: int, each: int, hands: int) -> None:
        group = layers(self.network)
        weights = take(self.network, *(layer.weight for layer in group))
        unmixed = sum(parameter.numel() for parameter in self.network.parameters())
        _require_budget(budget, unmixed + 1)
        needed, size = each * hands * sum(layer.size for layer in group), budget - unmixed
        self.banks.append(FlatBank(group, weights, self.M, min(size, needed), each, hands > 1))

    def _require_mixed(self) -> None:
        if not self.banks:
            raise UserError(
                f"Nothing of this {type(self.network).__name__} would be mixed, so its members would all be the same, "
                "since none of its layers share a type, a shape and a budget of two templates: choose a deeper model "
                "(model=wrn model.depth=16), a larger method.budget, or method.grouping=flat."
            )


def _require_budget(budget: int, shared: int) -> None:
    if shared > budget:
        raise UserError(
            f"method.budget is {budget:,} parameters, but templates and what is not mixed take at least {shared:,}: "
            "raise it, or set method.grouping=flat."
        )


def mixture(
    backbone: Backbone,
    M: int = 4,
    budget: float = 1.0,
    templates: int = 5,
    grouping: Literal["shape", "flat"] = "shape",
    single_layer_banks: bool = False,
    disjoint: bool = False,
    input_shape: tuple[int, ...] = (3, 32, 32),
) -> Mixture:
    """M members that mix their layers from shared templates; (B, *input_shape) -> (M, B, K).

    Args:
        backbone: a freshly initialised network, or a function that builds one. Only the spread of its mixed layers'
            numbers is kept, so there is no use in pretrained ones.
        budget: parameters to store besides the members' own mixing weights and norms, as a multiple of the backbone's,
            or from 1000 on as a number.
        templates: that a layer mixes, dealt round robin from its group's.
        grouping: ``shape``, banks for layers of one type and shape (section 3.1), each with its layers' share of the
            budget; or ``flat``, one for all layers (section 5.1), for small budgets.
        single_layer_banks: a layer alone in its group has a bank too, given a budget of two templates, as in the
            paper's thin networks; else it is an ordinary layer that all members share.
        disjoint: deal corresponding layers of different members different templates first, as on ImageNet.

    Raises:
        UserError: a setting out of its range, nothing that would be mixed, or a budget that cannot be kept.
    """
    require(M=M, budget=budget, templates=templates)
    if grouping not in ("shape", "flat"):
        raise UserError(f"method.grouping is {grouping!r}, but must be shape or flat: which layers share templates.")
    network = fresh(backbone, 1)[0]
    return Mixture(network, M, input_shape, budget, templates, grouping, single_layer_banks, disjoint)
