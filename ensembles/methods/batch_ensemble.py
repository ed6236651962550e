"""BatchEnsemble (Wen et al., 2020)."""

from ensembles import dealing
from ensembles.limits import require
from ensembles.members import batch_ensemble
from ensembles.methods.base import Backbone, Method
from ensembles.methods.groups import apart


class BatchEnsemble(Method):
    """One set of weights times each member's rank-one matrix; the authors' loss is the mean over members.

    Args:
        M, init, member_batch_norm: as `ensembles.batch_ensemble` takes them.
        fast_lr: factor on the learning rate of the fast weights r and s.
        decay_fast: whether weight decay and penalties act on them as on all other weights.
        deal: each member sees the ``whole`` batch, or members see ``shares`` of it.
    """

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        M: int = 4,
        init: str = "normal",
        fast_lr: float = 0.5,
        deal: str = "whole",
        member_batch_norm: bool = False,
        reduction: str = "mean",
        decay_fast: bool = False,
    ) -> None:
        require("method.", fast_lr=fast_lr, decay_fast=decay_fast)
        ensemble = batch_ensemble(backbone, M, init, member_batch_norm, input_shape)
        super().__init__(ensemble, dealing.whole_or_shares(deal, M), reduction)
        self.fast_lr, self.decay_fast = fast_lr, decay_fast

    def parameter_groups(self) -> list[dict]:
        fast = {"params": self.ensemble.fast_weights(), "lr_factor": self.fast_lr}
        undecayed = {} if self.decay_fast else {"weight_decay": 0.0}
        return apart(self, fast | undecayed, {"params": self.ensemble.biases(), "norms": True})
