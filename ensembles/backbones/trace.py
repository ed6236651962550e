"""What a network does with an image, seen in one pass on the meta device: no numbers, no time.

A pass shows its layers (`trace`), and its residual blocks by what they compute: a sum of two things that both follow
from the block's input.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ensembles.errors import Foreign, UserError, reason

LAYERS = (nn.Conv2d, nn.Linear)

# What networks raise on images, or at widths, that do not suit them.
MISFITS = (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError)


@dataclass(frozen=True)
class Step:
    """One layer's part in a pass.

    Attributes:
        name: the layer's dotted name in the network.
        pixels: places of the feature map that were flattened into the layer's inputs (1 if none were).
        batched: whether it reads what was computed of the batch, and not of a table of positions, say.
    """

    name: str
    pixels: int
    batched: bool = True


@dataclass(frozen=True)
class Trace:
    """The convolutions and linear layers in the order they run, and the shape that comes out, (2, K) for logits."""

    steps: tuple[Step, ...]
    output: torch.Size

    @property
    def first(self) -> str:
        return self.steps[0].name

    @property
    def last(self) -> str:
        return self.steps[-1].name


def trace(network: nn.Module, input_shape: tuple[int, ...]) -> Trace:
    """Follow two inputs of ``input_shape`` (without the batch dimension) through the network's layers.

    Raises:
        Foreign: the network does not take such inputs.
        UserError: what comes out is no tensor.
    """
    shadow = on_meta(network)
    names = {module: name for name, module in shadow.named_modules()}
    steps: dict[str, Step] = {}
    feature_map: list[torch.Size] = []

    def record(module: nn.Module, inputs: tuple, named: dict, output: object) -> None:
        if isinstance(module, LAYERS):
            pixels, x = 1, _first(inputs, named)
            if isinstance(module, nn.Linear) and feature_map and x.dim() == 2:
                channels, *space = feature_map.pop()[1:]
                flattened = torch.Size(space).numel()
                pixels = flattened if channels * flattened == module.in_features else 1
            steps.setdefault(names[module], Step(names[module], pixels, x.shape[0] % 2 == 0))
        if isinstance(output, torch.Tensor) and output.dim() == 4:
            feature_map[:] = [output.shape]

    hooks = [module.register_forward_hook(record, with_kwargs=True) for module in shadow.modules()]
    try:
        with torch.no_grad():
            output = shadow(torch.empty(2, *input_shape, device="meta"))
    except Exception as error:  # whatever a network's own code raises
        what = f"{type(network).__name__} fails on inputs {('B', *input_shape)}"
        raise Foreign(f"{what} with {type(error).__name__}: {reason(error)}.") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, Tensor):
        raise UserError(
            f"{type(network).__name__} gives a {type(output).__name__}, not a tensor: have it return its logits alone."
        )
    return Trace(tuple(steps.values()), output.shape)


def on_meta(network: nn.Module) -> nn.Module:
    """Copy the network, in evaluation mode, with its shapes but no numbers."""
    memo = {id(t): t.to("meta") for t in (*network.parameters(), *network.buffers())}
    memo |= {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in network.parameters()}
    return copy.deepcopy(network, memo).eval()


Node = torch.autograd.graph.Node


@dataclass
class _Call:
    """One run of a module: the ends of its part of the autograd graph, and what is in it."""

    module: nn.Module
    start: Node | None
    end: Node | None = None
    layers: list["_Call"] = field(default_factory=list)
    has_blocks: bool = False


def inner_layers(network: nn.Module, input_shape: tuple[int, ...]) -> list[str]:
    """Name the layers in residual blocks that read what another layer of their block has computed.

    So neither a block's first convolution nor that of its shortcut is among them; a network without blocks gives [].
    """
    return [name for block in _blocks(network, input_shape) for name, reads in block.items() if reads]


def first_layers(network: nn.Module, input_shape: tuple[int, ...]) -> list[str]:
    """Name the layers that residual blocks begin with: of each block the first of which another layer reads."""
    return [next(name for reads in block.values() for name in reads) for block in _blocks(network, input_shape)]


def _blocks(network: nn.Module, input_shape: tuple[int, ...]) -> list[dict[str, list[str]]]:
    """Find the residual blocks, which are the innermost modules that add, in the order in which they end.

    A block has its layers' names in the order in which they run, each with those of the block that its input follows
    from. One in which no layer reads another is left out.
    """
    shadow = on_meta(network)
    names = {module: name for name, module in shadow.named_modules()}
    running: list[_Call] = []
    found: list[dict[str, list[str]]] = []

    def begin(module: nn.Module, inputs: tuple, named: dict) -> None:
        running.append(_Call(module, _node(_first(inputs, named))))

    def end(module: nn.Module, inputs: tuple, output: object) -> None:
        call = running.pop()
        call.end = _node(output)
        if isinstance(module, LAYERS):
            call.layers.append(call)
        if not call.has_blocks and len(call.layers) > 1 and _adds(call):
            block = {
                names[layer.module]: [names[other.module] for other in _read(layer, call)] for layer in call.layers
            }
            if any(block.values()):
                found.append(block)
            call.has_blocks = True
        if running:
            running[-1].layers += call.layers
            running[-1].has_blocks |= call.has_blocks

    for module in shadow.modules():
        module.register_forward_pre_hook(begin, with_kwargs=True)
        module.register_forward_hook(end)
    with torch.enable_grad():
        shadow(torch.empty(2, *input_shape, device="meta", requires_grad=True) * 1)
    return found


def _first(inputs: tuple, named: dict) -> object:
    """Give a module's first input, which it may have been given by name; None without any."""
    return next(iter((*inputs, *named.values())), None)


def _node(value: object) -> Node | None:
    return value.grad_fn if isinstance(value, Tensor) else None


def _adds(call: _Call) -> bool:
    """Tell whether two paths from the call's input meet in a sum."""
    if call.start is None or call.end is None:
        return False
    leads = {call.start}
    for node in _inputs_first(call.end, stop=call.start):
        parents = [parent for parent, _ in node.next_functions if parent in leads]
        if parents:
            leads.add(node)
        if len(parents) > 1 and node.name().startswith("AddBackward"):
            return True
    return False


def _read(layer: _Call, block: _Call) -> list[_Call]:
    """Find the block's other layers from which the layer's input follows."""
    if layer.start is None or layer.start is block.start:
        return []
    leads = set(_inputs_first(layer.start, stop=block.start))
    return [other for other in block.layers if other is not layer and other.end in leads]


def _inputs_first(end: Node, stop: Node | None) -> Iterator[Node]:
    """Yield the nodes that lead to ``end``, each after those that lead to it, none beyond ``stop``."""
    seen, stack = {stop, None}, [(end, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(parent, False) for parent, _ in node.next_functions]
