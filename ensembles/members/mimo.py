"""MIMO (Havasi et al., 2021): M subnetworks inside one network, with M inputs and M outputs."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ensembles.backbones.resize import redraw
from ensembles.backbones.trace import trace
from ensembles.errors import UserError
from ensembles.limits import require
from ensembles.members.ensemble import Ensemble
from ensembles.members.fresh import Backbone, fresh
from ensembles.members.heads import keep_outputs, widen_outputs


class MIMO(Ensemble):
    """A network whose first layer reads M inputs side by side and whose last layer gives M predictions (section 2)."""

    def __init__(self, network: nn.Module, M: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        require(M=M)
        self.M = M
        self.input_shape = tuple(input_shape)
        plan = trace(network, input_shape)
        if len(plan.output) != 2:
            raise UserError(f"MIMO needs a network that gives (B, K) logits; this one gives {tuple(plan.output)}.")
        self.first, self.last = plan.first, plan.last
        first, last = network.get_submodule(plan.first), network.get_submodule(plan.last)
        if M > 1:
            _widen_inputs(first, M)
            widen_outputs(last, M)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) on a common batch, tiled M times (section 2)."""
        return self._split(functional_call(self.network, {f"{self.first}.weight": self._folded()}, (x,)))

    def each(self, x: Tensor) -> Tensor:
        """Logits (M, B, K) where subnetwork m predicts for its own input x[m], of (M, B, *input_shape)."""
        return self._split(self.network(torch.cat(x.unbind(0), dim=1)))

    def member(self, m: int) -> nn.Module:
        """Subnetwork m on a common input: an ordinary network with the folded first layer and its own last layer."""
        network = copy.deepcopy(self.network)
        first, last = network.get_submodule(self.first), network.get_submodule(self.last)
        _set_inputs(first, self._folded().detach())
        keep_outputs(last, m, self.M)
        return network

    def own_parameters(self) -> Iterable[nn.Parameter]:
        first, last = self.network.get_submodule(self.first), self.network.get_submodule(self.last)
        return (first.weight, *last.parameters())

    def _folded(self) -> Tensor:
        """A layer that reads one input M times is a layer with the sum of its M slices of weights, so it runs once."""
        return torch.stack(self.network.get_submodule(self.first).weight.chunk(self.M, dim=1)).sum(dim=0)

    def _split(self, outputs: Tensor) -> Tensor:
        return outputs.unflatten(1, (self.M, -1)).transpose(0, 1)


def mimo(backbone: Backbone, M: int = 3, input_shape: tuple[int, ...] = (3, 32, 32)) -> MIMO:
    """Turn a network into M subnetworks; (B, *input_shape) -> (M, B, K).

    Args:
        backbone: a freshly initialised network, or a function that builds one.
    """
    return MIMO(fresh(backbone, 1)[0], M, input_shape)


def _widen_inputs(layer: nn.Conv2d | nn.Linear, M: int) -> None:
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise UserError("MIMO needs a first convolution without groups: choose another model.")
    redraw(layer, (layer.weight.shape[0], M * layer.weight.shape[1], *layer.weight.shape[2:]))
    _set_inputs(layer, layer.weight)


def _set_inputs(layer: nn.Conv2d | nn.Linear, weight: Tensor) -> None:
    layer.weight = nn.Parameter(weight)
    setattr(layer, "in_channels" if isinstance(layer, nn.Conv2d) else "in_features", weight.shape[1])
