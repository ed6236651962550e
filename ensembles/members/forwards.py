"""Another forward for some modules of a network, for the duration of a pass."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType

import torch
from torch import Tensor, nn
from torch.func import functional_call


@contextmanager
def forwards(replacements: Mapping[nn.Module, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Let modules run these functions in the place of their own forward."""
    before = {module: vars(module).get("forward") for module in replacements}
    for module, forward in replacements.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, forward in before.items():
            if forward is None and not torch.compiler.is_compiling():
                del module.forward
            else:  # the compiler cannot take back an attribute that it has set
                module.forward = forward or _own(module)


def once(layer: nn.Module, common: Tensor) -> Callable[[Tensor], Tensor]:
    """The layer's forward, computed once for however many members hand it the very tensor ``common``.

    What follows may work in place, so each gets a copy.
    """
    compute, kept = layer.forward, []

    def forward(x: Tensor) -> Tensor:
        if x is not common:
            return compute(x)
        if not kept:
            kept.append(compute(x))
        return kept[0].clone()

    return forward


def once_for_all(layer: nn.Module, common: Tensor, batch: Tensor, M: int) -> Callable[[Tensor], Tensor]:
    """The layer's forward, computed on ``common`` where it is handed ``batch``, which is ``common`` M times."""
    compute = layer.forward

    def forward(x: Tensor) -> Tensor:
        return torch.cat([compute(common)] * M) if x is batch else compute(x)

    return forward


def member_by_member(layer: nn.Module, tensors: list[dict[str, Tensor]]) -> Callable[[Tensor], Tensor]:
    """A forward for a batch that is M members' after each other: each part with its member's tensors in the layer."""

    def forward(x: Tensor) -> Tensor:
        replaced, layer.forward = layer.forward, _own(layer)
        try:
            parts = zip(tensors, x.chunk(len(tensors)), strict=True)
            return torch.cat([functional_call(layer, own, (part,)) for own, part in parts])
        finally:
            layer.forward = replaced

    return forward


def _own(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """The forward of the module's class."""
    return MethodType(type(module).forward, module)
