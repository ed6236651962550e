"""Deep Ensembles (Lakshminarayanan et al., 2017): M networks from M initialisations."""

import re
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from ensembles.checkpoints import read_checkpoint
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Method, Separate, fresh


def deep_ensemble(backbone: Backbone, M: int = 4, input_shape: tuple[int, ...] = (3, 32, 32)) -> Separate:
    """Make M networks that differ in their initialisation; (B, *input_shape) -> (M, B, K).

    Args:
        backbone: a network (member 0; the others' layers are drawn anew, see `redraw`), or a function that builds one.
    """
    require(M=M)
    return Separate(fresh(backbone, M), input_shape)


class DeepEnsemble(Method):
    """M networks trained side by side, each from its own initialisation on its own shuffle of the data.

    Args:
        M: number of networks; with checkpoints, as many as they hold.
        checkpoints: files of runs that were trained apart; their members together are the ensemble, for evaluation;
            None for none.
    """

    @settings_of(deep_ensemble)
    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        checkpoints: Sequence[str] | None = (),
        reduction: str = "sum",
        **settings,
    ) -> None:
        states = [state for path in checkpoints or () for state in _networks_in(path)]
        if states:
            settings["M"] = len(states)
        ensemble = deep_ensemble(backbone, input_shape=input_shape, **settings)
        super().__init__(ensemble, Deal(shuffles=ensemble.M), reduction)
        for network, (path, state) in zip(self.ensemble.networks, states, strict=False):
            try:
                network.load_state_dict(state)
            except RuntimeError as error:
                raise UserError(f"method.checkpoints: {path} is of another architecture than model= here.") from error


def _networks_in(path: str) -> list[tuple[str, dict[str, Tensor]]]:
    """Pair the path with each network's state, as many as the checkpoint has members."""
    networks: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in read_checkpoint(path)["state_dict"].items():
        place = re.fullmatch(r"ensemble\.networks\.(\d+)\.(.+)", key)
        if not place:
            raise UserError(f"method.checkpoints: {path} is no single network or deep ensemble (it has {key}).")
        networks[place[1]][place[2]] = tensor
    return [(path, networks[m]) for m in sorted(networks, key=int)]
