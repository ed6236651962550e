"""M freshly initialised networks from one backbone."""

import copy
from collections.abc import Callable

from torch import nn

from ensembles.backbones.resize import redraw
from ensembles.backbones.room import require_room, size
from ensembles.backbones.trace import LAYERS

Backbone = nn.Module | Callable[[], nn.Module]


def fresh(backbone: Backbone, M: int) -> list[nn.Module]:
    """M networks that start apart: built anew by a function, or copies of a network with their numbers drawn again.

    Raises:
        UserError: more than fit this machine's memory.
    """
    if not isinstance(backbone, nn.Module):
        first = backbone()
        require_room(size(first), M)
        return [first, *(backbone() for _ in range(M - 1))]
    require_room(size(backbone), M)
    networks = [copy.deepcopy(backbone) for _ in range(M)]
    for network in networks[1:]:
        for layer in network.modules():
            if isinstance(layer, LAYERS):
                redraw(layer, tuple(layer.weight.shape))
    return networks
