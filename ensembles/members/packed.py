"""Packed-Ensembles (Laurent et al., 2023): M thin networks in the place of one."""

import warnings

from torch import nn

from ensembles.backbones.resize import resize
from ensembles.limits import require
from ensembles.members.fresh import Backbone, fresh
from ensembles.members.separate import Separate


def packed(
    backbone: Backbone,
    M: int = 4,
    alpha: float = 2,
    gamma: int = 1,
    min_channels: int = 64,
    input_shape: tuple[int, ...] = (3, 32, 32),
) -> Separate:
    """M networks of alpha / M times the backbone's width, gamma groups in their convolutions; -> (M, B, K).

    The paper writes them as one network of grouped convolutions (equation 5, Figure 3c). Its block-diagonal weights are
    M networks' weights, and M thin ordinary convolutions cost no more than the grouped one.

    Args:
        backbone: a freshly initialised network, or a function that builds one.
        alpha: width of all members together, in backbones; alpha = M is a deep ensemble.
        gamma: groups of a member's convolutions, but for the stem and the first convolution of a ResNet's block.
        min_channels: fewest input channels that a group keeps; where gamma leaves less, a layer has fewer groups.
        input_shape: shape of one input, (C, H, W) for images.

    Raises:
        UserError: a setting out of its range, or a network that cannot be thinned.
    """
    require(M=M, alpha=alpha, gamma=gamma, min_channels=min_channels)
    networks = fresh(backbone, M)
    ungrouped = _groups(networks[0])
    networks = [resize(network, alpha / M, input_shape, gamma, min_channels) for network in networks]
    if gamma > 1 and _groups(networks[0]) == ungrouped:
        warnings.warn(
            f"gamma = {gamma} changes nothing: no convolution would keep {min_channels} channels in each group; "
            "lower min_channels for gamma to act on this network.",
            stacklevel=2,
        )
    return Separate(networks, input_shape)


def _groups(network: nn.Module) -> list[int]:
    return [layer.groups for layer in network.modules() if isinstance(layer, nn.Conv2d)]
