"""The order in memory in which convolutions are fast, and a way around where a CPU fails at it."""

import torch
from torch import Tensor, nn


def channels_last(network: nn.Module) -> nn.Module:
    """Put a network's weights into channels-last order, in place.

    On a CPU without AVX-512 the weights' gradient of a 1x1 convolution with a stride writes beyond its memory in this
    order (torch 2.15 with oneDNN; the process hangs or crashes). There such a layer gets only the pixels that it looks
    at, which is the same sum.
    """
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.padding == (0, 0):
                _stride_before(layer)
    return network.to(memory_format=torch.channels_last)


def _stride_before(layer: nn.Conv2d) -> None:
    down, right = layer.stride
    if down * right > 1:
        layer.stride = (1, 1)
        layer.register_forward_pre_hook(_Strided(down, right))


class _Strided:
    """A hook that can be copied with its layer."""

    def __init__(self, down: int, right: int) -> None:
        self.down, self.right = down, right

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0][..., :: self.down, :: self.right]
