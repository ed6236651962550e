"""MixtureEnsembles: members whose layers are mixes of templates that layers and members share."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ensembles.errors import UserError
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Method, fresh, param_groups
from ensembles.methods.folded import ALL, NORMS, Folded, pop_tensors
from ensembles.methods.layers import Layer, layers


class MixtureNetwork(Folded):
    """Member i's weight of layer j is the sum of a_lij T_l over the layer's templates l (equation 2); -> (M, B, K).

    Members share templates and biases, and have their own mixing weights and normalisation layers: batch norms as in
    the paper, and so layer and group norms, whose scales go with a member's features too.

    Args:
        backbone: a freshly initialised network, or a function that builds one. Only the spread of its mixed layers'
            numbers is kept, so there is no use in pretrained ones.
        budget: parameters to store besides the members' own mixing weights and norms, as a multiple of the backbone's.
        max_params: the same as a number, in the budget's place.
        templates: that a layer mixes, dealt round robin from its group's.
        grouping: ``shape``, banks for layers of one type and shape (section 3.1), each with its layers' share of the
            budget; or ``flat``, one for all layers (section 5.1), for small budgets.
        single_layer_banks: a layer alone in its group has a bank too, given a budget of two templates, as in the
            paper's thin networks; else it is an ordinary layer that all members share.
        disjoint: deal corresponding layers of different members different templates first, as on ImageNet.

    Attributes:
        banks: of groups whose layers are mixed.
        shared_layers: names of the layers of each group that is one ordinary layer, shared by all members.

    Raises:
        UserError: a setting out of its range, nothing that would be mixed, or a budget that cannot be kept.
    """

    def __init__(
        self,
        backbone: Backbone,
        M: int = 4,
        budget: float = 1.0,
        max_params: float | None = None,
        templates: int = 5,
        grouping: Literal["shape", "flat"] = "shape",
        single_layer_banks: bool = False,
        disjoint: bool = False,
        input_shape: tuple[int, ...] = (3, 32, 32),
    ) -> None:
        require(budget=budget, max_params=max_params, templates=templates)
        require("method.", grouping=grouping)
        (network,) = fresh(backbone, 1)
        params = sum(parameter.numel() for parameter in network.parameters())
        # the budget exactly as it is written
        share = Fraction(str(budget)) if max_params is None else Fraction(int(max_params), params)
        allowed, key = floor(share * params), "budget" if max_params is None else "max_params"
        super().__init__(network, M, input_shape, NORMS)
        self.banks = nn.ModuleList()
        self.shared_layers: list[list[str]] = []
        template_sets = M if disjoint else 1
        if grouping == "flat":
            self._mix_flat(allowed, key, templates, template_sets)
        else:
            self._mix_by_shape(share, templates, template_sets, single_layer_banks)
            self._require_mixed()
            own = {id(parameter) for parameter in self.own_parameters()}
            shared = (parameter for parameter in self.parameters() if id(parameter) not in own)
            _require_budget(allowed, key, sum(parameter.numel() for parameter in shared))
        self.layers = [layer for bank in self.banks for layer in bank.group]

    def folded(self, members: slice = ALL) -> dict[str, Tensor]:
        return {name: weight for bank in self.banks for name, weight in bank.weights(members).items()}

    def mixing_weights(self) -> Iterator[nn.Parameter]:
        for bank in self.banks:
            yield bank.mixing

    def own_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.mixing_weights()
        yield from self.norms.parameters()

    def _mix_by_shape(self, share: Fraction, each: int, template_sets: int, single_layer_banks: bool) -> None:
        for group in by_shape(layers(self.network)):
            # The group's share of the budget over a layer's size is the budget in backbones times the group's layers.
            n = floor(share * len(group))
            weights = pop_tensors(self.network, *(layer.weight for layer in group))
            if n < 2 or (len(group) == 1 and not single_layer_banks):
                self.shared_layers.append([layer.name for layer in group])
                for layer in group:
                    owner, _, key = layer.weight.rpartition(".")
                    setattr(self.network.get_submodule(owner), key, weights[0])
            else:
                n = min(n, each * len(group) * template_sets)
                self.banks.append(Bank(group, weights, self.M, n, each, template_sets > 1))

    def _mix_flat(self, allowed: int, key: str, each: int, template_sets: int) -> None:
        group = layers(self.network)
        weights = pop_tensors(self.network, *(layer.weight for layer in group))
        unmixed = sum(parameter.numel() for parameter in self.network.parameters())
        _require_budget(allowed, key, unmixed + 1)
        needed, size = each * template_sets * sum(layer.size for layer in group), allowed - unmixed
        self.banks.append(FlatBank(group, weights, self.M, min(size, needed), each, template_sets > 1))

    def _require_mixed(self) -> None:
        if not self.banks:
            raise UserError(
                f"Nothing of this {type(self.network).__name__} would be mixed, so its members would all be the same, "
                "since none of its layers share a type, a shape and a budget of two templates: choose a deeper model "
                "(model=wrn model.depth=16), a larger method.budget, or method.grouping=flat."
            )


def _require_budget(allowed: int, key: str, shared: int) -> None:
    if shared > allowed:
        raise UserError(
            f"method.{key} is {allowed:,} parameters, but templates and what is not mixed take at least {shared:,}: "
            "raise it, or set method.grouping=flat."
        )


mixture = MixtureNetwork


class Mixture(Method):
    """Members mixed from shared templates, each trained on the batch with its own loss (section 3.2).

    Mixing weights get no weight decay. Settings are as `mixture` takes them.
    """

    keeps_pretrained = False

    @settings_of(mixture)
    def __init__(self, backbone: Backbone, input_shape: tuple[int, ...], reduction: str = "sum", **settings) -> None:
        super().__init__(mixture(backbone, input_shape=input_shape, **settings), reduction=reduction)

    def parameter_groups(self) -> list[dict]:
        return param_groups(self, {"params": self.ensemble.mixing_weights(), "weight_decay": 0.0})


def by_shape(layers: list[Layer]) -> list[list[Layer]]:
    """Group layers of one type and shape, in the network's order."""
    groups: dict[tuple, list[Layer]] = defaultdict(list)
    for layer in layers:
        groups[layer.kind, layer.shape, layer.groups].append(layer)
    return list(groups.values())


def dealt(templates: int, layers: int, M: int, each: int, disjoint: bool) -> Tensor:
    """Deal the templates that member m mixes in layer j: indices (M, layers, each), dealt round robin.

    Corresponding layers of all members get the same ones; with ``disjoint`` each member in turn gets the next ones, so
    they differ until all are dealt.
    """
    template_sets = M if disjoint else 1
    order = torch.arange(layers * template_sets * each, device="cpu") % templates
    return order.view(layers, template_sets, each).transpose(0, 1).expand(M, -1, -1).contiguous()


class Bank(nn.Module):
    """Templates of one shape that a group's layers and all members share (equations 1 and 2).

    Attributes:
        templates: (n, size of a layer), each with the inputs' dimension last, as convolutions in channels-last run.
        mixing: (M, layers, templates a layer).
    """

    def __init__(self, group: list[Layer], weights: list[Tensor], M: int, n: int, each: int, disjoint: bool) -> None:
        super().__init__()
        self.group = group
        each = min(each, n)
        spread = _spread(torch.cat([weight.flatten() for weight in weights]))
        self.templates = nn.Parameter(torch.randn(n, group[0].size, device=spread.device) * spread)
        self.mixing = nn.Parameter(_start(M, each, weights, spread))
        index = dealt(n, len(group), M, each, disjoint).to(spread.device)
        self.register_buffer("dealt", index, persistent=False)

    def weights(self, members: slice) -> dict[str, Tensor]:
        """Mix members' weights of the group's layers, after each other in the first dimension."""
        mixing, dealt = (tensor[members].transpose(0, 1) for tensor in (self.mixing, self.dealt))
        dense = mixing.new_zeros(*mixing.shape[:2], len(self.templates)).scatter(2, dealt, mixing)
        mixed = (dense.flatten(0, 1) @ self.templates).unflatten(0, dense.shape[:2]).unbind(0)
        return _by_name(self.group, mixed)


class FlatBank(nn.Module):
    """One run of numbers for layers of any shape: a layer's templates are its next slices, wrapping round.

    Section 5.1, for the smallest budget.

    Attributes:
        blob: (size,).
        mixing: (M, layers, templates a layer).
    """

    def __init__(self, group: list[Layer], weights: list[Tensor], M: int, size: int, each: int, disjoint: bool) -> None:
        super().__init__()
        self.group = group
        spread = _spread(torch.cat([weight.flatten() for weight in weights]))
        self.blob = nn.Parameter(torch.randn(size, device=spread.device) * spread)
        self.mixing = nn.Parameter(_start(M, each, weights, spread))
        self.pieces: list[list[Piece]] = [[] for _ in range(M)]
        start = 0
        for j, layer in enumerate(group):
            for m in range(M):
                for t in range(each):
                    self.pieces[m] += _pieces(j, t, start + t * layer.size, layer.size, size)
                if disjoint or m == M - 1:
                    start = (start + each * layer.size) % size

    def weights(self, members: slice) -> dict[str, Tensor]:
        """Mix members' weights of all layers, after each other in the first dimension."""
        sizes = [layer.size for layer in self.group]
        return _by_name(self.group, _MixPieces.apply(self.blob, self.mixing[members], sizes, self.pieces[members]))


class Piece(NamedTuple):
    """An unbroken part of a layer's template: ``source`` in the blob, ``target`` in the layer's weight."""

    layer: int
    template: int
    source: slice
    target: slice


def _pieces(layer: int, template: int, start: int, length: int, size: int) -> Iterator[Piece]:
    done = 0
    while done < length:
        place = (start + done) % size
        part = min(length - done, size - place)
        yield Piece(layer, template, slice(place, place + part), slice(done, done + part))
        done += part


class _MixPieces(torch.autograd.Function):
    """Members' flat weights out of a blob, (members, size of the layer) for each layer.

    By hand, since autograd would make a blob of zeros for the gradient of each piece.
    """

    @staticmethod
    def forward(ctx, blob: Tensor, mixing: Tensor, sizes: list[int], members: list[list[Piece]]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(blob, mixing)
        ctx.members = members
        weights = tuple(blob.new_zeros(len(members), size) for size in sizes)
        for m, pieces in enumerate(members):
            for j, t, source, target in pieces:
                weights[j][m, target].addcmul_(blob[source], mixing[m, j, t])
        return weights

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        blob, mixing = ctx.saved_tensors
        to_blob, to_mixing = torch.zeros_like(blob), torch.zeros_like(mixing)
        for m, pieces in enumerate(ctx.members):
            for j, t, source, target in pieces:
                to_blob[source].addcmul_(gradients[j][m, target], mixing[m, j, t])
                to_mixing[m, j, t] += gradients[j][m, target] @ blob[source]
        return to_blob, to_mixing, None, None


def _spread(numbers: Tensor) -> Tensor:
    """Compute the root mean square; not zero, since templates of zeros would never learn."""
    return numbers.detach().square().mean().sqrt().clamp_min(1e-3)


def _start(M: int, each: int, weights: list[Tensor], spread: Tensor) -> Tensor:
    """Draw mixing weights (M, layers, each) with which mixed weights have their layer's own variance.

    Templates are independent, so the variance of a mix is theirs times the sum of the squared mixing weights.
    """
    mixing = torch.randn(M, len(weights), each, device=spread.device)
    mixing /= mixing.norm(dim=-1, keepdim=True)
    ratios = torch.stack([weight.detach().square().mean().sqrt() for weight in weights]) / spread
    return mixing * ratios[:, None]


def _by_name(group: list[Layer], flat: Sequence[Tensor]) -> dict[str, Tensor]:
    """Name and shape the layers' weights, (members, size) with the inputs' dimension last in a member's numbers."""
    shaped = {}
    for layer, numbers in zip(group, flat, strict=True):
        _, inputs, *space = layer.shape
        shaped[layer.weight] = numbers.view(-1, *space, inputs).movedim(-1, 1)
    return shaped
