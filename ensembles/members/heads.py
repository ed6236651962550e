"""M predictions out of one network: a last layer whose outputs are the members', side by side."""

from torch import Tensor, nn

from ensembles.backbones.resize import redraw

Layer = nn.Conv2d | nn.Linear


def widen_outputs(layer: Layer, M: int) -> None:
    """Give the layer M times its outputs, each member's drawn anew, see `redraw`."""
    redraw(layer, (M * layer.weight.shape[0], *layer.weight.shape[1:]))
    set_outputs(layer, layer.weight, layer.bias)


def keep_outputs(layer: Layer, m: int, M: int) -> None:
    """Leave the layer member m's part of its outputs."""
    set_outputs(layer, *(t.detach().chunk(M)[m].clone() for t in (layer.weight, layer.bias) if t is not None))


def set_outputs(layer: Layer, weight: Tensor, bias: Tensor | None = None) -> None:
    """Give the layer these numbers, and so as many outputs as they have rows."""
    layer.weight = nn.Parameter(weight)
    layer.bias = None if bias is None else nn.Parameter(bias)
    setattr(layer, "out_channels" if isinstance(layer, nn.Conv2d) else "out_features", weight.shape[0])
