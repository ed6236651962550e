"""MIMO (Havasi et al., 2021): M subnetworks inside one network, with M inputs and M outputs."""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.backbones.dimensions import ends
from ensembles.backbones.resize import is_pretrained, redraw, set_tensors
from ensembles.backbones.trace import LAYERS, trace
from ensembles.deal import Deal
from ensembles.errors import Foreign, UserError
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Ensemble, Method, fresh, param_groups
from ensembles.methods.layers import keep_outputs, widen_outputs


class MIMONetwork(Ensemble):
    """A network whose first layer reads M inputs side by side and whose last layer gives M predictions (section 2).

    Args:
        backbone: a freshly initialised network, or a function that builds one.
    """

    def __init__(self, backbone: Backbone, M: int = 3, input_shape: tuple[int, ...] = (3, 32, 32)) -> None:
        super().__init__()
        require(M=M)
        (network,) = fresh(backbone, 1)
        self.M, self.input_shape = M, tuple(input_shape)
        output = trace(network, input_shape).output
        if len(output) != 2:
            raise UserError(f"MIMO needs a network that gives (B, K) logits; this one gives {tuple(output)}.")
        self.first, self.last = ends(network, input_shape)
        if M > 1:
            for name in self.first:
                _widen_inputs(network.get_submodule(name), M)
            for name in self.last:
                widen_outputs(network.get_submodule(name), M)
            _require_split(network, (M * input_shape[0], *input_shape[1:]), (output[0], M * output[1]))
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (M, B, K) on a common batch, tiled M times (section 2)."""
        folded = {f"{name}.weight": self._folded(name) for name in self.first}
        return self._split(functional_call(self.network, folded, (x,)))

    def each(self, x: Tensor) -> Tensor:
        """Compute logits (M, B, K) where subnetwork m predicts for its own input x[m], of (M, B, *input_shape)."""
        return self._split(self.network(torch.cat(x.unbind(0), dim=1)))

    def member(self, m: int) -> nn.Module:
        """Copy subnetwork m on a common input: a network with the folded first layer and its own last layer."""
        network = copy.deepcopy(self.network)
        for name in self.first:
            set_tensors(network.get_submodule(name), weight=self._folded(name).detach())
        for name in self.last:
            keep_outputs(network.get_submodule(name), m, self.M)
        return network

    def head(self) -> list[nn.Module]:
        """List the last layers, and the first, by which subnetworks tell their own input from the others'."""
        return super().head() + [self.network.get_submodule(name) for name in self.first if self.M > 1]

    def own_parameters(self) -> Iterable[nn.Parameter]:
        for name in self.first:
            yield self.network.get_submodule(name).weight
        for name in self.last:
            yield from self.network.get_submodule(name).parameters()

    def _folded(self, first: str) -> Tensor:
        """Sum a first layer's M slices: a layer that reads one input M times is one with the sum, so it runs once."""
        return torch.stack(self.network.get_submodule(first).weight.chunk(self.M, dim=1)).sum(dim=0)

    def _split(self, outputs: Tensor) -> Tensor:
        return outputs.unflatten(1, (self.M, -1)).transpose(0, 1)


mimo = MIMONetwork


def _widen_inputs(layer: nn.Conv2d | nn.Linear, M: int) -> None:
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise UserError("MIMO needs a first convolution without groups: choose another model.")
    if is_pretrained(layer):  # on a common input it computes what it did
        set_tensors(layer, weight=torch.cat([layer.weight.detach() / M] * M, dim=1))
    else:
        redraw(layer, (layer.weight.shape[0], M * layer.weight.shape[1], *layer.weight.shape[2:]))


def _require_split(network: nn.Module, input_shape: tuple[int, ...], output: tuple[int, ...]) -> None:
    """See that a network of several inputs and outputs passes them on as its first and last layers do."""
    try:
        given = tuple(trace(network, input_shape).output)
    except Foreign as error:
        raise UserError(
            f"MIMO cannot give this {type(network).__name__} several inputs, since its code computes with the images' "
            "channels before its first layer reads them: choose another model."
        ) from error
    if given != output:
        raise UserError(
            f"{type(network).__name__} with several outputs gives {given}, not {output}: MIMO needs a network that "
            "ends with the layers that give its logits."
        )


def mimo_positions(batch_size: int, generator: torch.Generator, M: int, rho: float, batch_repetition: int) -> Tensor:
    """Draw positions of each subnetwork's inputs, shape (M, B * batch_repetition) (MIMO, section 3.5).

    The batch is tiled and shuffled once; each member then shuffles the first (1 - rho) share of the positions again and
    leaves the rest, so a share rho of the positions (and chance matches) is alike in all members.
    """
    tiled = torch.arange(batch_size).repeat(batch_repetition)
    main = tiled[torch.randperm(len(tiled), generator=generator)]
    own = round((1 - rho) * len(main))
    return torch.stack(
        [torch.cat([main[:own][torch.randperm(own, generator=generator)], main[own:]]) for _ in range(M)]
    )


def deal(M: int, rho: float, batch_repetition: int) -> Deal:
    """Deal each subnetwork its own shuffle of the batch, see `mimo_positions`."""
    return Deal(positions=partial(mimo_positions, M=M, rho=rho, batch_repetition=batch_repetition))


class MIMO(Method):
    """M subnetworks of one network, each on its own shuffle of the batch.

    Args:
        settings: as `mimo` takes them.
        rho: share of positions where all subnetworks see the same example (section 3.5, input repetition).
        batch_repetition: times that each example stands in a step (section 3.5).
        penalty: what the recipe's l1 and l2 act on: ``all`` parameters, or ``layers``, as in the released code of
            appendix C: weights of layers and the last layer's bias, M times as strong in the first and the last layer,
            since these have M times the weights.
        norm_l2: with ``layers``, the L2 penalty of batch norms, which the recipe's do not act on.
    """

    @settings_of(mimo)
    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        rho: float = 0.0,
        batch_repetition: int = 4,
        reduction: str = "sum",
        penalty: Literal["all", "layers"] = "all",
        norm_l2: float = 0,
        **settings,
    ) -> None:
        require("method.", rho=rho, batch_repetition=batch_repetition, penalty=penalty, norm_l2=norm_l2)
        ensemble = mimo(backbone, input_shape=input_shape, **settings)
        super().__init__(ensemble, deal(ensemble.M, rho, batch_repetition), reduction)
        self.penalty, self.norm_l2 = penalty, norm_l2

    def parameter_groups(self) -> list[dict]:
        if self.penalty == "all":
            return super().parameter_groups()
        network = self.ensemble.network
        ends = dict.fromkeys(self.ensemble.own_parameters())
        layers = [layer.weight for layer in network.modules() if isinstance(layer, LAYERS)]
        inner = [weight for weight in layers if weight not in ends]
        norms = [p for norm in network.modules() if isinstance(norm, _BatchNorm) for p in norm.parameters()]
        l1, l2 = (self.ensemble.M * strength for strength in (self.recipe.l1, self.recipe.l2))
        return param_groups(
            self,
            {"params": inner},
            {"params": ends, "norms": False, "l1": l1, "l2": l2},
            {"params": norms, "norms": True, "l1": 0, "l2": self.norm_l2},
            others={"l1": 0, "l2": 0},
        )
