"""A network's weight matrices and filters: what methods share out among members."""

from dataclasses import dataclass

from torch import Tensor, nn

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
        """Numbers in the weight."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


def layers(network: nn.Module) -> list[Layer]:
    """All layers with a weight matrix, in the network's order."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            found.append(_layer(name, module, "weight", "bias"))
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            found.append(_layer(name, module, "in_proj_weight", "in_proj_bias"))
    return found


def _layer(name: str, module: nn.Module, weight: str, bias: str) -> Layer:
    dotted = [f"{name}.{key}" if name else key for key in (weight, bias)]
    tensor: Tensor = getattr(module, weight)
    return Layer(
        name=name,
        weight=dotted[0],
        bias=None if getattr(module, bias) is None else dotted[1],
        kind=type(module),
        shape=tuple(tensor.shape),
        groups=getattr(module, "groups", 1),
    )
