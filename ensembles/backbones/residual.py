"""Residual blocks, recognised by what they compute: a sum of two things that both follow from the block's input."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ensembles.backbones.trace import LAYERS, on_meta

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
    """Names of the layers in residual blocks that read what another layer of their block has computed.

    So neither a block's first convolution nor that of its shortcut is among them. The blocks are the innermost modules
    that add; a network without any gives [].
    """
    shadow = on_meta(network)
    names = {module: name for name, module in shadow.named_modules()}
    running: list[_Call] = []
    found: dict[str, None] = {}

    def begin(module: nn.Module, inputs: tuple) -> None:
        running.append(_Call(module, _node(inputs[0]) if inputs else None))

    def end(module: nn.Module, inputs: tuple, output: object) -> None:
        call = running.pop()
        call.end = _node(output)
        if isinstance(module, LAYERS):
            call.layers.append(call)
        if not call.has_blocks and len(call.layers) > 1 and _adds(call):
            found.update(dict.fromkeys(names[layer.module] for layer in call.layers if _reads_another(layer, call)))
            call.has_blocks = True
        if running:
            running[-1].layers += call.layers
            running[-1].has_blocks |= call.has_blocks

    for module in shadow.modules():
        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)
    with torch.enable_grad():
        shadow(torch.empty(2, *input_shape, device="meta", requires_grad=True) * 1)
    return list(found)


def _node(value: object) -> Node | None:
    return value.grad_fn if isinstance(value, Tensor) else None


def _adds(call: _Call) -> bool:
    """Whether two paths from the call's input meet in a sum."""
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


def _reads_another(layer: _Call, block: _Call) -> bool:
    if layer.start is None or layer.start is block.start:
        return False
    others = {other.end for other in block.layers if other is not layer}
    return any(node in others for node in _inputs_first(layer.start, stop=block.start))


def _inputs_first(end: Node, stop: Node | None) -> Iterator[Node]:
    """The nodes that lead to ``end``, each after those that lead to it, none beyond ``stop``."""
    seen, stack = {stop, None}, [(end, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(parent, False) for parent, _ in node.next_functions]
