"""Thinner and wider networks by surgery: every hidden width of any network times one ratio.

Exact for networks that chain or add their layers; what does not come out is refused with a sentence. A resized layer
is drawn anew, see `redraw`.
"""

import math
import os
import warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.backbones.trace import Step, on_meta, trace
from ensembles.errors import UserError, reason
from ensembles.limits import require

# In a ResNet the authors of Packed-Ensembles give a block's first convolution no subgroups.
WITHOUT_SUBGROUPS = {"BasicBlock": "conv1", "Bottleneck": "conv1"}


def resize(
    network: nn.Module, ratio: float, input_shape: tuple[int, ...], gamma: int = 1, min_channels: int = 64
) -> nn.Module:
    """Multiply every width but the input's and the output's by ``ratio``, in place; give convolutions ``gamma`` groups.

    A convolution but the first has the most groups, up to ``gamma``, that divide its channels and keep ``min_channels``
    input channels each (Packed-Ensembles, section 3.1, and its authors' code). A fractional width is rounded up to a
    multiple of ``gamma``, with a warning.

    Args:
        network: freshly initialised, (B, *input_shape) -> (B, K).
        input_shape: one input's shape, (C, H, W) for images.

    Raises:
        UserError: the network's structure does not allow it.
    """
    require(width=ratio, gamma=gamma, min_channels=min_channels)
    if ratio == 1 and gamma == 1:
        return network
    plan = trace(network, input_shape)
    steps = {step.name: step for step in plan.steps}
    width = _Widths(ratio, gamma)
    hidden = {len(p) for name, p in network.named_parameters() if p.dim() > 1 and name != f"{plan.last}.weight"}
    grown = _Widths(ratio, gamma)
    if any(grown(channels) > channels for channels in hidden) and not _is_on_meta(network):
        require_room(resized_size(network, ratio, input_shape, gamma, min_channels))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if name in steps:
                ends = (name == plan.first, name == plan.last)
                subgroups = 1 if ends[0] or _is_without_subgroups(network, name) else gamma
                _resize_layer(module, steps[name], ends, width, subgroups, min_channels)
        elif isinstance(module, _BatchNorm | nn.GroupNorm | nn.LayerNorm):
            _resize_norm(name, module, width)
        else:
            _resize_own_parameters(module, hidden, width)
    _check(network, input_shape, plan.output, ratio)
    width.warn()
    return network


def resized_size(
    network: nn.Module, ratio: float, input_shape: tuple[int, ...], gamma: int = 1, min_channels: int = 64
) -> int:
    """Count the parameters that `resize` would give a network, which stays as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parameter_count(resize(on_meta(network), ratio, input_shape, gamma, min_channels))


def _is_on_meta(network: nn.Module) -> bool:
    return all(parameter.is_meta for parameter in network.parameters())


class _Widths:
    """Original width -> new width, and a note of those that were rounded."""

    def __init__(self, ratio: float, gamma: int) -> None:
        self.ratio, self.gamma = ratio, gamma
        self.rounded: dict[int, int] = {}

    def __call__(self, channels: int) -> int:
        exact = round(channels * self.ratio, 6)
        new = self.gamma * math.ceil(exact / self.gamma)
        if new != exact:
            self.rounded[channels] = new
        return new

    def warn(self) -> None:
        if self.rounded:
            widths = ", ".join(f"{old} -> {new}" for old, new in sorted(self.rounded.items()))
            warnings.warn(
                f"Widths times {self.ratio:g} that are no multiple of {self.gamma} are rounded up: {widths}.",
                stacklevel=3,
            )


def _is_without_subgroups(network: nn.Module, name: str) -> bool:
    parent, _, child = name.rpartition(".")
    return WITHOUT_SUBGROUPS.get(type(network.get_submodule(parent)).__name__) == child


def _resize_layer(
    layer: nn.Conv2d | nn.Linear, step: Step, ends: tuple[bool, bool], width: _Widths, gamma: int, min_channels: int
) -> None:
    first, last = ends
    if isinstance(layer, nn.Linear):
        inputs = layer.in_features if first else width(layer.in_features // step.pixels) * step.pixels
        layer.out_features = layer.out_features if last else width(layer.out_features)
        layer.in_features = inputs
        redraw(layer, (layer.out_features, inputs))
        return
    depthwise = layer.groups > 1 and layer.groups == layer.in_channels
    layer.in_channels = layer.in_channels if first else width(layer.in_channels)
    layer.out_channels = layer.out_channels if last else width(layer.out_channels)
    if depthwise:
        layer.groups = layer.in_channels
    elif layer.groups == 1:
        layer.groups = subgroups(layer.in_channels, layer.out_channels, gamma, min_channels)
    if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
        raise UserError(
            f"The convolution {step.name} has {layer.groups} groups, which do not divide its resized channels, "
            f"{layer.in_channels} in and {layer.out_channels} out: choose another alpha, M or model.width."
        )
    redraw(layer, (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size))


def subgroups(in_channels: int, out_channels: int, gamma: int, min_channels: int) -> int:
    """Find the most groups, up to gamma, that divide the channels and keep ``min_channels`` input channels each."""
    for groups in range(min(gamma, in_channels // min_channels), 1, -1):
        if in_channels % groups == 0 and out_channels % groups == 0:
            return groups
    return 1


def _resize_norm(name: str, norm: nn.Module, width: _Widths) -> None:
    if isinstance(norm, nn.LayerNorm):
        shape = (*norm.normalized_shape[:-1], width(norm.normalized_shape[-1]))
        norm.normalized_shape, channels = shape, shape
    elif isinstance(norm, nn.GroupNorm):
        norm.num_channels = width(norm.num_channels)
        if norm.num_channels % norm.num_groups:
            raise UserError(
                f"The group norm {name} has {norm.num_groups} groups, which do not divide its resized width."
            )
        channels = (norm.num_channels,)
    else:
        norm.num_features = width(norm.num_features)
        channels = (norm.num_features,)
    for key, tensor in (*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)):
        if tensor.dim():
            _replace(norm, key, _resample(tensor, channels, 1.0))


def _resize_own_parameters(module: nn.Module, hidden: set[int], width: _Widths) -> None:
    for key, parameter in module.named_parameters(recurse=False):
        shape = tuple(width(n) if n in hidden else n for n in parameter.shape)
        _replace(module, key, _resample(parameter, shape, 1.0))


def redraw(layer: nn.Conv2d | nn.Linear, shape: tuple[int, ...]) -> None:
    """Give the layer a weight of ``shape`` and numbers drawn anew, by the initialiser that it tells (`initialise`).

    So it starts as a layer of its own size does. Of a layer that tells none, as in timm's networks, the numbers are
    picked at random from those it has, and scaled by the root of the ratio of its inputs. That has the right spread
    where the initialiser goes by fan-in and a distribution of few distinct values where the layer was small.
    """
    initialiser = getattr(layer, "initialiser", None)
    weight, bias = layer.weight, layer.bias
    if initialiser is not None:
        _replace(layer, "weight", weight.new_empty(shape))
        if bias is not None:
            _replace(layer, "bias", bias.new_empty(shape[:1]))
        initialiser(layer)
        return
    scale = math.sqrt(weight[0].numel() / math.prod(shape[1:]))
    _replace(layer, "weight", _resample(weight, shape, scale))
    if bias is not None:
        _replace(layer, "bias", _resample(bias, shape[:1], scale))


def _resample(source: Tensor, shape: tuple[int, ...], scale: float) -> Tensor:
    if source.is_meta:
        return torch.empty(shape, device="meta")
    picks = torch.randint(source.numel(), (math.prod(shape),))
    return source.detach().flatten()[picks].reshape(shape) * scale


def _replace(module: nn.Module, key: str, tensor: Tensor) -> None:
    if isinstance(getattr(module, key), nn.Parameter):
        setattr(module, key, nn.Parameter(tensor, getattr(module, key).requires_grad))
    else:
        setattr(module, key, tensor)


def _check(network: nn.Module, input_shape: tuple[int, ...], output: torch.Size, ratio: float) -> None:
    try:
        with torch.no_grad():
            result = on_meta(network)(torch.empty(2, *input_shape, device="meta")).shape
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"{type(network).__name__} does not work at {ratio:g} times its width ({reason(error)}): "
            "choose alpha = M, another model, or one whose constructor takes the width."
        ) from error
    if result != output:
        raise UserError(
            f"{type(network).__name__} at {ratio:g} times its width gives {tuple(result)}, not {tuple(output)}."
        )


MEMORY_SHARE = 0.7  # of this machine's, for networks
PARAMETER_BYTES = 4


def parameter_count(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def require_room(parameters: int, copies: int = 1) -> None:
    """Check that networks of so many parameters each can be held in memory.

    Raises:
        UserError: they take more than 70 % of this machine's memory.
    """
    needed, present = PARAMETER_BYTES * parameters * copies, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > MEMORY_SHARE * present:
        raise UserError(
            f"{copies} network(s) of {parameters:,} parameters take {needed / 2**30:,.0f} GiB, and this machine has "
            f"{present / 2**30:,.0f} GiB of memory: set a smaller method.M, method.alpha, method.gamma or model.width."
        )
