"""Packed-Ensembles (Laurent et al., 2023): M thin networks in the place of one."""

import warnings
from typing import Literal

from torch import nn

from ensembles.backbones.resize import parameter_count, require_room, resize_all, resized_size
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Method, Separate, fresh

WIDEST = 100  # times the backbone's width


def packed(
    backbone: Backbone,
    M: int = 4,
    alpha: float = 2,
    gamma: int = 1,
    min_channels: int = 64,
    input_shape: tuple[int, ...] = (3, 32, 32),
) -> Separate:
    """Make M networks of alpha / M times the backbone's width, gamma groups in their convolutions; -> (M, B, K).

    A convolution of C inputs, C' outputs and s x s kernels has M (alpha C / M) (alpha C' / M) s^2 / gamma weights
    (section 3.2). The paper writes the members as one network of grouped convolutions (equation 5, Figure 3c), whose
    block-diagonal weights are M networks' weights; in which of the two forms they run, `ensembles.methods.forms` says.

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
    if alpha > WIDEST * M:
        raise UserError(f"method.alpha is {alpha:g}, but must be at most {WIDEST} times method.M, {WIDEST * M}.")
    networks, ratio = fresh(backbone, M), alpha / M
    plain = resized_size(networks[0], ratio, input_shape) if gamma > 1 else 0
    groups = _groups(networks[0])
    networks = resize_all(networks, ratio, input_shape, gamma, min_channels)
    size = parameter_count(networks[0])
    require_room(size, M)  # of networks on the meta device, too, where `resize_all` has refused none
    if gamma > 1 and size > plain:
        warnings.warn(
            f"gamma = {gamma} makes this ensemble larger, {M * size:,} parameters where gamma = 1 has {M * plain:,}: "
            f"widths are rounded up to multiples of gamma, and few or no layers keep min_channels = {min_channels} "
            "channels in each group.",
            stacklevel=2,
        )
    elif gamma > 1 and _groups(networks[0]) == groups:
        warnings.warn(
            f"gamma = {gamma} changes nothing: no convolution would keep {min_channels} channels in each group; "
            "lower min_channels for gamma to act on this network.",
            stacklevel=2,
        )
    return Separate(networks, input_shape)


def _groups(network: nn.Module) -> list[int]:
    return [layer.groups for layer in network.modules() if isinstance(layer, nn.Conv2d)]


class Packed(Method):
    """M thin networks that see the same batches; the authors' loss is the mean over members.

    Args:
        settings: as `packed` takes them.
        initialisation: each member's own, or the first one's for all (section 5, sources of stochasticity).
        batches: common to all members, or each member's own.
    """

    keeps_pretrained = False

    @settings_of(packed)
    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        initialisation: Literal["own", "common"] = "own",
        batches: Literal["common", "own"] = "common",
        reduction: str = "mean",
        **settings,
    ) -> None:
        require(initialisation=initialisation, batches=batches)
        ensemble = packed(backbone, input_shape=input_shape, **settings)
        if initialisation == "common":
            for network in ensemble.networks[1:]:
                network.load_state_dict(ensemble.networks[0].state_dict())
        super().__init__(ensemble, Deal(shuffles=ensemble.M) if batches == "own" else None, reduction)
