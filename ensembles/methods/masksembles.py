"""Masksembles (Durasov et al., 2021): one set of weights behind M fixed binary masks over channels."""

import math

import torch
from torch import Tensor

from ensembles.backbones.trace import trace
from ensembles.deal import whole_or_shares
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Method, fresh
from ensembles.methods.folded import ALL, Folded
from ensembles.methods.layers import layers
from ensembles.rng import generator


class MasksemblesNetwork(Folded):
    """Member m masks the input channels of every layer but the first: its weights are W o 1 mask_m^T; -> (M, B, K).

    Kept channels are not scaled up, as in the authors' code: batch norm or training makes up for the scale. The masks
    follow from the layer, M and the scale alone, and are kept as buffers.

    What is trained are the backbone's own parameters, no more: on CIFAR-10 11.17 M in a ResNet-18, 23.52 M in a
    ResNet-50, 36.48 M in WRN-28-10. Packed-Ensembles' Table 1 prints 11.24, 23.81 and 36.53 M. Its WRN is the one with
    biases on convolutions, masks counted, a number for each member and masked input channel: 36,527,178. For the
    ResNets that count gives 11.19 and 23.62 M, and no other count is known to give the table's.

    Args:
        backbone: a freshly initialised network, or a function that builds one.
        scale: from 1, where masks are all ones, to 6; the larger, the less members' channels overlap.

    Raises:
        UserError: a setting out of its range.
    """

    def __init__(
        self, backbone: Backbone, M: int = 4, scale: float = 2.0, input_shape: tuple[int, ...] = (3, 32, 32)
    ) -> None:
        require("method.", M=M, scale=scale)
        (network,) = fresh(backbone, 1)
        super().__init__(network, M, input_shape)
        pixels = {step.name: step.pixels for step in trace(network, input_shape).steps}
        self.layers = [layer for layer in layers(network) if layer.name != self.first]
        for index, layer in enumerate(self.layers):
            flattened = pixels.get(layer.name, 1)
            draws = generator("masksembles", layer.weight, M, float(scale))
            masks = channel_masks(layer.inputs // flattened, M, scale, draws).repeat_interleave(flattened, dim=1)
            weight = network.get_parameter(layer.weight)
            self.register_buffer(f"mask{index}", masks.to(weight.device, weight.dtype))

    def folded(self, members: slice = ALL) -> dict[str, Tensor]:
        weights = {}
        for index, layer in enumerate(self.layers):
            weight = self.network.get_parameter(layer.weight)
            masks = self.get_buffer(f"mask{index}")[members]
            # A convolution's groups of outputs each read their own group of inputs.
            by_group = masks.view(len(masks), layer.groups, 1, -1).expand(-1, -1, layer.outputs // layer.groups, -1)
            by_weight = by_group.reshape(-1, *weight.shape[:2], *[1] * (weight.dim() - 2))
            weights[layer.weight] = (weight * by_weight).flatten(0, 1)
        return weights


masksembles = MasksemblesNetwork


class Masksembles(Method):
    """One network behind M fixed masks over channels; the loss is the mean over members.

    Args:
        settings: as `masksembles` takes them.
        deal: each member sees the ``whole`` batch, or members see ``shares`` of it.
    """

    @settings_of(masksembles)
    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        deal: str = "whole",
        reduction: str = "mean",
        **settings,
    ) -> None:
        ensemble = masksembles(backbone, input_shape=input_shape, **settings)
        super().__init__(ensemble, whole_or_shares(deal, ensemble.M), reduction)


def channel_masks(channels: int, M: int, scale: float, generator: torch.Generator) -> Tensor:
    """Draw M masks of 0 and 1, (M, channels), with equally many ones, such that each channel is some mask's.

    The paper puts a mask's ones at random among ``scale`` times as many places and drops the places that no mask uses.
    What is left is random in width; here the width is given. So the number of ones is the one with which that many
    places are expected to be left, and masks are drawn until as many are.

    Args:
        scale: 1 for masks that are all ones; the larger, the less masks overlap.
    """
    ones = active_channels(channels, M, scale)
    if ones * M == channels:  # nothing may overlap
        order = torch.randperm(channels, generator=generator, device="cpu")
        return torch.nn.functional.one_hot(order % M, M).T.float()
    places = _places(channels, M, ones)
    while True:
        used = torch.zeros(M, places, device="cpu")
        for mask in used:
            mask[torch.randperm(places, generator=generator, device="cpu")[:ones]] = 1
        used = used[:, used.any(0)]
        if used.shape[1] == channels:
            return used


def active_channels(channels: int, M: int, scale: float) -> int:
    """Count the channels a mask keeps: M masks use a share 1 - (1 - 1/scale)^M of scale times as many places."""
    ones = channels / (scale * (1 - (1 - 1 / scale) ** M))
    return max(round(ones), math.ceil(channels / M))


def _places(channels: int, M: int, ones: int) -> int:
    """Count the places of which M masks with so many ones are expected to use ``channels``."""
    places = channels
    while places * (1 - (1 - ones / places) ** M) < channels:
        places += 1
    return places
