"""What a network does with an image, seen in one pass on the meta device: no numbers, no time."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from ensembles.errors import Foreign, reason

LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Step:
    """One layer's part in a pass.

    Attributes:
        name: the layer's dotted name in the network.
        pixels: places of the feature map that were flattened into the layer's inputs (1 if none were).
    """

    name: str
    pixels: int


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
    """
    shadow = on_meta(network)
    names = {module: name for name, module in shadow.named_modules()}
    steps: dict[str, Step] = {}
    feature_map: list[torch.Size] = []

    def record(module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(module, LAYERS):
            pixels = 1
            if isinstance(module, nn.Linear) and feature_map and inputs[0].dim() == 2:
                channels, *space = feature_map.pop()[1:]
                flattened = torch.Size(space).numel()
                pixels = flattened if channels * flattened == module.in_features else 1
            steps.setdefault(names[module], Step(names[module], pixels))
        if isinstance(output, torch.Tensor) and output.dim() == 4:
            feature_map[:] = [output.shape]

    hooks = [module.register_forward_hook(record) for module in shadow.modules()]
    try:
        with torch.no_grad():
            output = shadow(torch.empty(2, *input_shape, device="meta"))
    except Exception as error:  # whatever a network's own code raises
        what = f"{type(network).__name__} fails on inputs {('B', *input_shape)}"
        raise Foreign(f"{what} with {type(error).__name__}: {reason(error)}.") from error
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(tuple(steps.values()), output.shape)


def on_meta(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode that has shapes but no numbers."""
    memo = {id(t): t.to("meta") for t in (*network.parameters(), *network.buffers())}
    memo |= {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in network.parameters()}
    return copy.deepcopy(network, memo).eval()
