"""A network's layers: their weights, which methods share out among members, their outputs and their layout."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ensembles.backbones.resize import is_pretrained, redraw, set_tensors
from ensembles.backbones.trace import LAYERS


@dataclass(frozen=True)
class Layer:
    """A convolution, a linear layer, or the input projection of an attention.

    Attributes:
        name: of its module in the network.
        weight, bias: dotted names of its tensors; no bias is None.
        kind: class of its module.
        shape: of the weight, (outputs, inputs / groups, ...).
        groups: of a convolution, else 1.
    """

    name: str
    weight: str
    bias: str | None
    kind: type
    shape: tuple[int, ...]
    groups: int

    @property
    def inputs(self) -> int:
        return self.shape[1] * self.groups

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Count the numbers in the weight."""
        return math.prod(self.shape)


def layers(network: nn.Module) -> list[Layer]:
    """List all layers with a weight matrix, in the network's order."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            weight, bias = "weight", "bias"
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            weight, bias = "in_proj_weight", "in_proj_bias"
        else:
            continue
        prefix = f"{name}." if name else ""
        found.append(
            Layer(
                name=name,
                weight=f"{prefix}{weight}",
                bias=None if getattr(module, bias) is None else f"{prefix}{bias}",
                kind=type(module),
                shape=tuple(getattr(module, weight).shape),
                groups=getattr(module, "groups", 1),
            )
        )
    return found


def widen_outputs(layer: nn.Conv2d | nn.Linear, M: int) -> None:
    """Give the layer M times its outputs, each member's drawn anew, see `redraw`, or a little off pretrained ones."""
    if is_pretrained(layer):
        set_tensors(layer, **{key: _near(numbers.detach(), M) for key, numbers in layer.named_parameters()})
    else:
        redraw(layer, (M * layer.weight.shape[0], *layer.weight.shape[1:]))


def _near(numbers: Tensor, M: int) -> Tensor:
    """Repeat numbers M times, with noise of a hundredth of their spread, since equal heads would learn the same."""
    copies = torch.cat([numbers] * M)
    return copies + 0.01 * numbers.square().mean().sqrt() * torch.randn_like(copies)


def keep_outputs(layer: nn.Conv2d | nn.Linear, m: int, M: int) -> None:
    """Leave the layer only member m's part of its outputs."""
    set_tensors(layer, **{key: numbers.detach().chunk(M)[m].clone() for key, numbers in layer.named_parameters()})


def channels_last(network: nn.Module) -> nn.Module:
    """Put a network's weights into channels-last order, in place.

    On a CPU without AVX-512 the weights' gradient of a 1x1 convolution with a stride writes beyond its memory in this
    order (torch 2.15 with oneDNN; the process hangs or crashes). There such a layer gets only the pixels that it looks
    at, which is the same sum.
    """
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        for layer in network.modules():
            pointwise = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.padding == (0, 0)
            if pointwise and max(layer.stride) > 1:
                layer.register_forward_pre_hook(_Strided(*layer.stride))
                layer.stride = (1, 1)
    return network.to(memory_format=torch.channels_last)


class _Strided:
    """A hook that can be copied with its layer."""

    def __init__(self, down: int, right: int) -> None:
        self.down, self.right = down, right

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0][..., :: self.down, :: self.right]
