"""Packed-Ensembles (Laurent et al., 2023)."""

from typing import Literal

from ensembles.dealing import Deal
from ensembles.limits import require
from ensembles.members import packed
from ensembles.methods.base import Backbone, Method


class Packed(Method):
    """M thin networks that see the same batches; the authors' loss is the mean over members.

    Args:
        M, alpha, gamma, min_channels: as `ensembles.packed` takes them.
        initialisation: each member's own, or the first one's for all (section 5, sources of stochasticity).
        batches: common to all members, or each member's own.
    """

    keeps_pretrained = False

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 4,
        alpha: float = 2,
        gamma: int = 1,
        min_channels: int = 64,
        initialisation: Literal["own", "common"] = "own",
        batches: Literal["common", "own"] = "common",
        reduction: str = "mean",
    ) -> None:
        require(initialisation=initialisation, batches=batches)
        ensemble = packed(backbone, M, alpha, gamma, min_channels, input_shape)
        if initialisation == "common":
            for network in ensemble.networks[1:]:
                network.load_state_dict(ensemble.networks[0].state_dict())
        super().__init__(ensemble, Deal(shuffles=M) if batches == "own" else None, reduction)
