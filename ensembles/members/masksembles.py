"""Masksembles (Durasov et al., 2021): one set of weights behind M fixed binary masks over channels."""

from torch import Tensor, nn

from ensembles.backbones.trace import trace
from ensembles.keyed import generator
from ensembles.limits import require
from ensembles.members.channel_masks import channel_masks
from ensembles.members.folded import Folded
from ensembles.members.fresh import Backbone, fresh
from ensembles.members.layers import layers


class Masksembles(Folded):
    """Member m masks the input channels of every layer but the first: its weights are W o 1 mask_m^T.

    Kept channels are not scaled up, as in the authors' code: batch norm or training makes up for the scale. The masks
    follow from the layer, M and the scale alone, and are kept as buffers.

    What is trained are the backbone's own parameters, no more: on CIFAR-10 11.17 M in a ResNet-18, 23.52 M in a
    ResNet-50, 36.48 M in WRN-28-10. Packed-Ensembles' Table 1 prints 11.24, 23.81 and 36.53 M. Its WRN is the one with
    biases on convolutions, masks counted, a number for each member and masked input channel: 36,527,178. For the
    ResNets that count gives 11.19 and 23.62 M, and no other count is known to give the table's.
    """

    def __init__(self, network: nn.Module, M: int, input_shape: tuple[int, ...], scale: float) -> None:
        super().__init__(network, M, input_shape)
        pixels = {step.name: step.pixels for step in trace(network, input_shape).steps}
        self.layers = [layer for layer in layers(network) if layer.name != self.first]
        for index, layer in enumerate(self.layers):
            flattened = pixels.get(layer.name, 1)
            draws = generator("masksembles", layer.weight, M, float(scale))
            masks = channel_masks(layer.inputs // flattened, M, scale, draws).repeat_interleave(flattened, dim=1)
            weight = network.get_parameter(layer.weight)
            self.register_buffer(f"mask{index}", masks.to(weight.device, weight.dtype))

    def folded(self, m: int) -> dict[str, Tensor]:
        weights = {}
        for index, layer in enumerate(self.layers):
            weight = self.network.get_parameter(layer.weight)
            mask = self.get_buffer(f"mask{index}")[m]
            # A convolution's groups of outputs each read their own group of inputs.
            by_group = mask.view(layer.groups, 1, -1).expand(-1, layer.outputs // layer.groups, -1)
            weights[layer.weight] = weight * by_group.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))
        return weights


def masksembles(
    backbone: Backbone, M: int = 4, scale: float = 2.0, input_shape: tuple[int, ...] = (3, 32, 32)
) -> Masksembles:
    """M subnetworks behind fixed masks over channels; (B, *input_shape) -> (M, B, K).

    Args:
        backbone: a freshly initialised network, or a function that builds one.
        scale: from 1, where masks are all ones, to 6; the larger, the less members' channels overlap.

    Raises:
        UserError: a setting out of its range.
    """
    require("method.", M=M, scale=scale)
    return Masksembles(fresh(backbone, 1)[0], M, input_shape, scale)
