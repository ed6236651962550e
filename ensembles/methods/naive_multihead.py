"""Naive multi-head (MIMO, Havasi et al., 2021, section 3.2): M last layers on one body, which all members share."""

import copy
from collections.abc import Iterable

from torch import Tensor, nn

from ensembles.backbones.dimensions import ends
from ensembles.backbones.trace import trace
from ensembles.errors import UserError
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Ensemble, Method, fresh
from ensembles.methods.layers import keep_outputs, widen_outputs


class NaiveMultiheadNetwork(Ensemble):
    """A network whose last layer gives M predictions, (B, *input_shape) -> (M, B, K).

    Member m's are outputs mK to (m + 1)K.

    Args:
        backbone: a freshly initialised network, or a function that builds one.
    """

    def __init__(self, backbone: Backbone, M: int = 4, input_shape: tuple[int, ...] = (3, 32, 32)) -> None:
        super().__init__()
        require(M=M)
        (network,) = fresh(backbone, 1)
        self.M, self.input_shape = M, tuple(input_shape)
        _, self.last = ends(network, input_shape)
        if M > 1:
            output = trace(network, input_shape).output
            for name in self.last:
                widen_outputs(network.get_submodule(name), M)
            self._require_split(network, output)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self._split(self.network(x)).movedim(1, 0)

    def each(self, x: Tensor) -> Tensor:
        M, B = x.shape[:2]
        all_heads = self._split(self.network(x.flatten(0, 1))).unflatten(0, (M, B))
        return all_heads.diagonal(dim1=0, dim2=2).movedim(-1, 0)

    def member(self, m: int) -> nn.Module:
        """Copy member m out as an ordinary network."""
        network = copy.deepcopy(self.network)
        for name in self.last:
            keep_outputs(network.get_submodule(name), m, self.M)
        return network

    def own_parameters(self) -> Iterable[nn.Parameter]:
        return [parameter for name in self.last for parameter in self.network.get_submodule(name).parameters()]

    def _split(self, outputs: Tensor) -> Tensor:
        """Split (N, M K) into (N, M, K)."""
        return outputs.unflatten(1, (self.M, -1))

    def _require_split(self, network: nn.Module, output: tuple[int, ...]) -> None:
        given = trace(network, self.input_shape).output
        if len(output) != 2 or given != (output[0], self.M * output[1]):
            raise UserError(
                f"{type(network).__name__} does not pass on its last layer's outputs ({', '.join(self.last)}): "
                "naive_multihead needs a network that ends with the layer that gives its logits."
            )


naive_multihead = NaiveMultiheadNetwork


class NaiveMultihead(Method):
    """M last layers on one body, all trained on the same batch; settings as `naive_multihead` takes them."""

    @settings_of(naive_multihead)
    def __init__(self, backbone: Backbone, input_shape: tuple[int, ...], reduction: str = "sum", **settings) -> None:
        super().__init__(naive_multihead(backbone, input_shape=input_shape, **settings), reduction=reduction)
