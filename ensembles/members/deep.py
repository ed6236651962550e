"""Deep Ensembles (Lakshminarayanan et al., 2017): M networks from M initialisations."""

from ensembles.limits import require
from ensembles.members.fresh import Backbone, fresh
from ensembles.members.separate import Separate


def deep_ensemble(backbone: Backbone, M: int = 4, input_shape: tuple[int, ...] = (3, 32, 32)) -> Separate:
    """M networks that differ in their initialisation; (B, *input_shape) -> (M, B, K).

    Args:
        backbone: a network (member 0; the others' layers are drawn anew, see `redraw`), or a function that builds one.
    """
    require(M=M)
    return Separate(fresh(backbone, M), input_shape)
