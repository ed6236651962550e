"""Thinner and wider networks by surgery: every hidden width of any network times one ratio.

A resized layer is drawn anew, see `redraw`; what does not come out is refused with a sentence.
"""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles import memory
from ensembles.backbones.dimensions import Dimensions, dimensions
from ensembles.backbones.trace import LAYERS, MISFITS, Trace, on_meta
from ensembles.errors import UserError, reason
from ensembles.limits import require

# In a ResNet the authors of Packed-Ensembles give a block's first convolution no subgroups.
WITHOUT_SUBGROUPS = {"BasicBlock": "conv1", "Bottleneck": "conv1"}
SAID = 0.1  # share of the parameters in layers that keep their widths from which on a warning says so


def resize(
    network: nn.Module, ratio: float, input_shape: tuple[int, ...], gamma: int = 1, min_channels: int = 64
) -> nn.Module:
    """Multiply every width but the input's and the output's by ``ratio``, in place; give convolutions ``gamma`` groups.

    What is a width, and what follows from it, is seen in a pass (`dimensions`). Numbers of heads, of groups and of
    images' parts stay; heads and groups become thinner. A convolution but the first has the most groups, up to
    ``gamma``, that divide its channels and keep ``min_channels`` input channels each (Packed-Ensembles, section 3.1,
    and its authors' code). A width is rounded up, with a warning, to a whole number that ``gamma``, heads and groups
    divide.

    Args:
        network: freshly initialised, (B, *input_shape) -> (B, K).
        input_shape: one input's shape, (C, H, W) for images.

    Raises:
        UserError: the network's structure does not allow it.
    """
    return resize_all([network], ratio, input_shape, gamma, min_channels)[0]


def resize_all(
    networks: list[nn.Module], ratio: float, input_shape: tuple[int, ...], gamma: int = 1, min_channels: int = 64
) -> list[nn.Module]:
    """Resize networks of one architecture, see `resize`."""
    require(width=ratio, gamma=gamma, min_channels=min_channels)
    if ratio == 1 and gamma == 1:
        return networks
    first, kind = networks[0], type(networks[0]).__name__
    found = dimensions(first, input_shape)
    plan = found.plan
    sizes, rounded = found.equations.solve(ratio, gamma)
    if any(sizes[symbol] < 1 for symbol in found.equations.of_tensors):
        raise UserError(f"Nothing of {kind} is left at {ratio:g} times its width: choose a larger one.")
    shapes = {name: found.shape(name, sizes) for name in found.tensors}
    if ratio != 1:
        _require_width(first, shapes, plan, ratio)
    if not all(parameter.is_meta for parameter in first.parameters()):
        counts = {name: parameter.numel() for name, parameter in first.named_parameters()}
        after = sum(math.prod(shapes[name]) if name in shapes else count for name, count in counts.items())
        if after > sum(counts.values()):
            require_room(after, len(networks))
    for network in networks:
        _set_attributes(network, found, sizes)
        _resize_modules(network, shapes, plan, gamma, min_channels)
    _check(first, input_shape, plan.output, ratio)
    if rounded:
        widths = ", ".join(f"{old} -> {new}" for old, new in sorted(rounded.items()))
        warnings.warn(f"Widths times {ratio:g} that are no multiple of {gamma} are rounded up: {widths}.", stacklevel=3)
    return networks


def _require_width(network: nn.Module, shapes: dict[str, tuple[int, ...]], plan: Trace, ratio: float) -> None:
    """Refuse a network of which all layers keep their shape, and say so where many do."""
    weights = {name: network.get_parameter(name) for name in (f"{step.name}.weight" for step in plan.steps)}
    kept = {name: weight for name, weight in weights.items() if shapes.get(name) == tuple(weight.shape)}
    kind = type(network).__name__
    if len(kept) == len(weights):
        raise UserError(
            f"{kind} does not work at {ratio:g} times its width, since numbers in its code fix it: "
            "choose alpha = M, another model, or one whose constructor takes the width."
        )
    share = sum(weight.numel() for weight in kept.values()) / parameter_count(network)
    if share > SAID:
        warnings.warn(
            f"{kind} keeps layers with {share:.0%} of its parameters as they are: its code fixes their widths.",
            stacklevel=4,
        )


def _resize_modules(network: nn.Module, shapes: dict, plan: Trace, gamma: int, min_channels: int) -> None:
    """Draw layers anew with these shapes, convolutions in groups, and give all other modules' tensors theirs."""
    layers = {step.name for step in plan.steps}
    for name, module in network.named_modules():
        own = {key: shapes.get(f"{name}.{key}" if name else key) for key, _ in _own_tensors(module)}
        if isinstance(module, LAYERS) and name in layers:
            shape, _ = own.pop("weight"), own.pop("bias", None)
            if isinstance(module, nn.Conv2d) and module.groups == 1:
                whole = name == plan.first or _is_without_subgroups(network, name)
                module.groups = subgroups(shape[1], shape[0], 1 if whole else gamma, min_channels)
                shape = (shape[0], shape[1] // module.groups, *shape[2:])
            redraw(module, shape)
        _resize_tensors(module, own, isinstance(module, NORMS))


def _own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]


def _set_attributes(network: nn.Module, found: Dimensions, sizes: list[int]) -> None:
    """Give integers in the modules, and roots of heads' widths, the values that the new widths ask for."""
    for (owner, key, place), dim in found.attributes.items():
        module, value = network.get_submodule(owner), int(found.equations.resolve(dim).at(sizes))
        if place is not None:
            old = getattr(module, key)
            value = type(old)(value if i == place else n for i, n in enumerate(old))
        setattr(module, key, value)
    for owner, dim in found.parts:
        module, old = network.get_submodule(owner), found.equations.size(dim)
        for key, value in vars(module).items():
            if isinstance(value, float) and math.isclose(value, old**-0.5):
                setattr(module, key, int(found.equations.resolve(dim).at(sizes)) ** -0.5)


def set_tensors(module: nn.Module, **tensors: Tensor) -> None:
    """Give a module other parameters or buffers, and let a layer or norm tell the sizes that they have."""
    for key, tensor in tensors.items():
        old = getattr(module, key)
        setattr(module, key, nn.Parameter(tensor, old.requires_grad) if isinstance(old, nn.Parameter) else tensor)
    if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
        module.embed_dim = module.kdim = module.vdim = module.in_proj_weight.shape[1]
        module.head_dim = module.embed_dim // module.num_heads
    elif isinstance(module, nn.RNNBase):
        module.hidden_size, module.input_size = module.weight_hh_l0.shape[1], module.weight_ih_l0.shape[1]
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return
    outputs, inputs = weight.shape[0], weight.shape[1] if weight.dim() > 1 else weight.shape[0]
    told = {"out_features": outputs, "in_features": inputs, "out_channels": outputs}
    told |= {"in_channels": inputs * getattr(module, "groups", 1)}
    if weight.dim() == 1:
        told = {"num_features": outputs, "num_channels": outputs}
    for key, value in told.items():
        if isinstance(vars(module).get(key), int):
            setattr(module, key, value)


def resized_size(network: nn.Module, ratio: float, input_shape: tuple[int, ...]) -> int:
    """Count the parameters that `resize` would give a network, which stays as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parameter_count(resize(on_meta(network), ratio, input_shape))


def _is_without_subgroups(network: nn.Module, name: str) -> bool:
    parent, _, child = name.rpartition(".")
    return WITHOUT_SUBGROUPS.get(type(network.get_submodule(parent)).__name__) == child


def subgroups(in_channels: int, out_channels: int, gamma: int, min_channels: int) -> int:
    """Find the most groups, up to gamma, that divide the channels and keep ``min_channels`` input channels each."""
    for groups in range(min(gamma, in_channels // min_channels), 1, -1):
        if in_channels % groups == 0 and out_channels % groups == 0:
            return groups
    return 1


NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


def _resize_tensors(module: nn.Module, shapes: dict[str, tuple[int, ...] | None], anew: bool) -> None:
    """Give a module's tensors other shapes: parameters numbers picked from those they have, buffers every nth.

    Args:
        anew: pick also the numbers of those whose shape stays.
    """
    changed = {}
    for key, tensor in _own_tensors(module):
        shape = shapes.get(key)
        if shape is not None and tensor.dim() and (anew or shape != tuple(tensor.shape)):
            picks = anew or isinstance(tensor, nn.Parameter)
            changed[key] = _resample(tensor, shape, 1.0) if picks else _thinned(tensor, shape)
    set_tensors(module, **changed)


def _thinned(table: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pick pairs of a computed table's entries at even distances: of sines and cosines, say, or a blur."""
    for dim, (old, new) in enumerate(zip(table.shape, shape, strict=True)):
        if old != new:
            places = torch.arange(new)
            places = (places // 2 * old // new * 2 + places % 2).clamp(max=old - 1)
            table = table.index_select(dim, places.to(table.device))
    return table


def is_pretrained(layer: nn.Module) -> bool:
    """Tell whether the layer's numbers are pretrained, so that it should keep them."""
    return getattr(layer, "pretrained", False)


def redraw(layer: nn.Conv2d | nn.Linear, shape: tuple[int, ...]) -> None:
    """Give the layer a weight of ``shape`` and numbers drawn anew, by the initialiser that it tells (`initialise`).

    So it starts as a layer of its own size does. Of a layer that tells none, as in timm's networks, the numbers are
    picked at random from those it has, and scaled by the root of the ratio of its inputs. That has the right spread
    where the initialiser goes by fan-in and a distribution of few distinct values where the layer was small.
    """
    initialiser = getattr(layer, "initialiser", None)
    scale = math.sqrt(layer.weight[0].numel() / math.prod(shape[1:]))
    shapes = {"weight": shape} if layer.bias is None else {"weight": shape, "bias": shape[:1]}
    for key, own in shapes.items():
        old = getattr(layer, key)
        set_tensors(layer, **{key: _resample(old, own, scale) if initialiser is None else old.new_empty(own)})
    if initialiser is not None:
        initialiser(layer)


def _resample(source: Tensor, shape: tuple[int, ...], scale: float) -> Tensor:
    if source.is_meta:
        return torch.empty(shape, device="meta")
    picks = torch.randint(source.numel(), (math.prod(shape),))
    return source.detach().flatten()[picks].reshape(shape) * scale


def _check(network: nn.Module, input_shape: tuple[int, ...], output: torch.Size, ratio: float) -> None:
    try:
        with torch.no_grad():
            result = on_meta(network)(torch.empty(2, *input_shape, device="meta")).shape
    except MISFITS as error:
        raise UserError(
            f"{type(network).__name__} does not work at {ratio:g} times its width ({reason(error)}): "
            "choose alpha = M, another model, or one whose constructor takes the width."
        ) from error
    if result != output:
        raise UserError(
            f"{type(network).__name__} at {ratio:g} times its width gives {tuple(result)}, not {tuple(output)}."
        )


PARAMETER_BYTES = 4


def parameter_count(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def require_room(parameters: int, copies: int = 1) -> None:
    """Check that networks of so many parameters each can be held in memory.

    Raises:
        UserError: they take more than `memory.require_room` lets them.
    """
    what = f"{copies} network(s) of {parameters:,} parameters"
    instead = "set a smaller method.M, method.alpha, method.gamma or model.width"
    memory.require_room(PARAMETER_BYTES * parameters * copies, what, instead)
