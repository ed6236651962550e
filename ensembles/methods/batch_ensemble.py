"""BatchEnsemble (Wen et al., 2020): one set of weights, times a rank-one matrix of each member's own."""

import warnings
from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ensembles.backbones.resize import is_pretrained
from ensembles.deal import whole_or_shares
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Method, fresh, param_groups
from ensembles.methods.folded import ALL, BATCH_NORMS, Folded, own_forward, pop_tensors
from ensembles.methods.layers import Layer, layers

# Inputs of an output, from which on a convolution gains more by one call for all members than it costs to scale what
# goes in and what comes out, in place of its weights (ResNet-18 on a CPU).
SCALED = 1000


class BatchEnsembleNetwork(Folded):
    """Member m's weight of each layer is W o (r_m s_m^T) (section 3.1), its biases are its own; -> (M, B, K).

    With M = 4 on CIFAR-10 a ResNet-18 stores 11.21 M parameters. In training, batch norms see all members' activations.

    Args:
        backbone: a freshly initialised network, or a function that builds one.
        init: how the fast weights r and s start: ``normal``, N(1, 0.5^2); ``signs``, +1 or -1 at even odds; or
            ``close``, N(1, 0.01^2), with which members of a pretrained network start close to it.
        member_batch_norm: each member has its own batch norms ("EnsembleBN").

    Raises:
        UserError: a setting out of its range.
    """

    def __init__(
        self,
        backbone: Backbone,
        M: int = 4,
        init: Literal["normal", "signs", "close"] = "normal",
        member_batch_norm: bool = False,
        input_shape: tuple[int, ...] = (3, 32, 32),
    ) -> None:
        require("method.", init=init)
        (network,) = fresh(backbone, 1)
        if init != "close" and any(is_pretrained(layer) for layer in network.modules()):
            warnings.warn(
                f"method.init={init} changes what the pretrained layers compute; with method.init=close members start "
                "close to the pretrained network.",
                stacklevel=2,
            )
        super().__init__(network, M, input_shape, BATCH_NORMS if member_batch_norm else ())
        self.layers = layers(network)
        self.fast = nn.ModuleList(FastWeights(layer, network, M, init) for layer in self.layers)

    def folded(self, members: slice = ALL, but: Container[nn.Module] = ()) -> dict[str, Tensor]:
        weights = {}
        for layer, module, fast in self._layers():
            if module not in but:
                weights[layer.weight] = fast.fold(self.network.get_parameter(layer.weight), members)
                if layer.bias is not None and fast.bias is not None:
                    weights[layer.bias] = fast.bias[members].flatten()
        return weights

    def layer_forwards(self) -> dict[nn.Module, Callable[[Tensor], Tensor]]:
        wide = {
            module: partial(_scaled, module, fast)
            for _, module, fast in self._layers()
            if type(module) is nn.Conv2d and module.weight[0].numel() >= SCALED
        }
        return self.forwards_by_member(self.folded(but=wide)) | wide

    def _layers(self) -> Iterator[tuple[Layer, nn.Module, "FastWeights"]]:
        for layer, fast in zip(self.layers, self.fast, strict=True):
            yield layer, self.network.get_submodule(layer.name), fast

    def fast_weights(self) -> Iterator[nn.Parameter]:
        """Yield all r and s."""
        for fast in self.fast:
            yield from (fast.r, fast.s)

    def biases(self) -> Iterator[nn.Parameter]:
        """Yield all members' biases (M, outputs)."""
        yield from (fast.bias for fast in self.fast if fast.bias is not None)

    def head(self) -> list[nn.Module]:
        last = super().head()
        return last + [fast for _, module, fast in self._layers() if module in last]

    def own_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.fast.parameters()
        yield from self.norms.parameters() if self.norms else ()


class FastWeights(nn.Module):
    """What members have of their own in one layer.

    Attributes:
        r: (M, outputs).
        s: (M, inputs). In a convolution with groups each input channel, as each output channel, has its factor.
        bias: (M, outputs), all members' starting as the layer's; None where the layer has none.
    """

    def __init__(self, layer: Layer, network: nn.Module, M: int, init: str) -> None:
        super().__init__()
        self.groups = layer.groups
        weight = network.get_parameter(layer.weight)
        self.r = nn.Parameter(_initial(init, weight, M, layer.outputs))
        self.s = nn.Parameter(_initial(init, weight, M, layer.inputs))
        self.bias = None
        if layer.bias:
            (bias,) = pop_tensors(network, layer.bias)
            self.bias = nn.Parameter(bias.detach().repeat(M, 1))

    def fold(self, weight: Tensor, members: slice) -> Tensor:
        """Compute members' W o (r_m s_m^T) after each other; W is (outputs, inputs / groups, ...).

        Each group of a convolution's outputs reads, and scales, its own group of inputs.
        """
        r, s = self.r[members], self.s[members]
        factors = r.view(len(r), self.groups, -1, 1) * s.view(len(s), self.groups, 1, -1)
        return (weight * factors.view(-1, *weight.shape[:2], *[1] * (weight.dim() - 2))).flatten(0, 1)


def _scaled(layer: nn.Conv2d, fast: FastWeights, x: Tensor) -> Tensor:
    """Convolve members' batches after each other as r_m o (W * (s_m o x)), which is (W o (r_m s_m^T)) * x."""

    def by_member(x: Tensor, operation: Callable[[Tensor, Tensor], Tensor], numbers: Tensor) -> Tensor:
        return operation(x.unflatten(0, (len(numbers), -1)), numbers[:, None, :, None, None]).flatten(0, 1)

    outputs = by_member(own_forward(layer)(by_member(x, torch.mul, fast.s)), torch.mul, fast.r)
    return outputs if fast.bias is None else by_member(outputs, torch.add, fast.bias)


def _initial(init: str, weight: Tensor, M: int, size: int) -> Tensor:
    normal = torch.randn(M, size, device=weight.device, dtype=weight.dtype)
    if init == "signs":
        return torch.where(normal < 0, -1.0, 1.0).to(weight.dtype)
    return 1 + (0.5 if init == "normal" else 0.01) * normal


batch_ensemble = BatchEnsembleNetwork


class BatchEnsemble(Method):
    """One set of weights times each member's rank-one matrix; the authors' loss is the mean over members.

    Args:
        settings: as `batch_ensemble` takes them.
        fast_lr: factor on the learning rate of the fast weights r and s.
        decay_fast: whether weight decay and penalties act on them as on all other weights.
        deal: each member sees the ``whole`` batch, or members see ``shares`` of it.
    """

    @settings_of(batch_ensemble)
    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        fast_lr: float = 0.5,
        decay_fast: bool = False,
        deal: str = "whole",
        reduction: str = "mean",
        **settings,
    ) -> None:
        require("method.", fast_lr=fast_lr, decay_fast=decay_fast)
        ensemble = batch_ensemble(backbone, input_shape=input_shape, **settings)
        super().__init__(ensemble, whole_or_shares(deal, ensemble.M), reduction)
        self.fast_lr, self.decay_fast = fast_lr, decay_fast

    def parameter_groups(self) -> list[dict]:
        fast = {"params": self.ensemble.fast_weights(), "lr_factor": self.fast_lr}
        undecayed = {} if self.decay_fast else {"weight_decay": 0.0}
        return param_groups(self, fast | undecayed, {"params": self.ensemble.biases(), "norms": True})
