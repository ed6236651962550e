"""How differently members predict, from logits (M, N, K) with M > 1, over ordered pairs of different members."""

import torch
from torch import Tensor

from ensembles.metrics.base import EnsembleMetric, chunks, require_finite


def differs(logits: Tensor) -> Tensor:
    """Tell whether two members predict different classes: (M, N, K) -> (M, M, N), bool.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    require_finite(logits)
    predicted = logits.argmax(-1)
    return predicted[:, None] != predicted


def disagreement_matrix(logits: Tensor) -> Tensor:
    """Compute the share of examples on which two members predict different classes: (M, M), float64."""
    return differs(logits).double().mean(-1)


def disagreement_by_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Average the pairwise disagreement on each class's examples: (K,), float64; NaN for a class without any."""
    members, _, classes = logits.shape
    each = differs(logits).double().sum((0, 1)) / (members * (members - 1))
    total = each.new_zeros(classes).index_add_(0, labels, each)
    return total / labels.bincount(minlength=classes)


def cross_log_likelihood(logits: Tensor) -> Tensor:
    """Sum over examples of member m's expected log-probability of member n, (M, M), float64."""
    members = len(logits)
    cross = logits.new_zeros(members, members, dtype=torch.float64)
    for part in chunks(logits):
        log_p = part.log_softmax(-1).flatten(1)
        cross += log_p.exp() @ log_p.T
    return cross


def _kl(cross: Tensor, count: int | Tensor) -> Tensor:
    """Average the Kullback-Leibler divergences KL(p_m || p_n) of members m and n, nats: (M, M), float64."""
    return ((cross.diagonal()[:, None] - cross) / count).clamp(min=0)  # copies: 0, whatever the rounding


def pair_mean(matrix: Tensor) -> Tensor:
    """Average an (M, M) matrix over the ordered pairs of different members."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)].mean()


def disagreement_ratio(differing: Tensor, error: Tensor) -> Tensor | None:
    """Average over pairs the share of differing predictions over the error rate of the pair's first member.

    0 for copies, 2 for networks of equal error that never err on the same example (Fort et al., 2019; Mixture, section
    5.3). Pairs whose first member makes no error have no ratio and are left out; None where no member errs.

    Args:
        differing: shares of differing predictions, (M, M).
        error: members' error rates, (M,).
    """
    errs = error > 0
    if not errs.any():
        return None
    # the diagonal is zero, so a row's sum is over its M - 1 pairs
    return (differing[errs].sum(-1) / error[errs] / (len(differing) - 1)).mean()


class Diversity(EnsembleMetric):
    """Pairwise diversity of M members, as a dictionary; an empty one for M = 1, which has no pairs.

    ``disagreement`` and ``kl`` (nats) are means over examples and pairs (MIMO, section 3.2); ``ratio`` is that of
    `disagreement_ratio`, and is left out where no member errs.

    Args:
        M: number of members.
    """

    def __init__(self, M: int, **settings) -> None:
        super().__init__(**settings)
        for name, shape in {"differing": (M, M), "cross": (M, M), "wrong": (M,), "count": ()}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in members' logits (M, B, K) and labels (B,).

        Raises:
            UserError: NaN or an infinity among the logits.
        """
        if len(logits) == 1:
            return
        self.differing += differs(logits).double().sum(-1)
        self.cross += cross_log_likelihood(logits)
        self.wrong += (logits.argmax(-1) != labels).double().sum(-1)
        self.count += logits.shape[1]

    def compute(self) -> dict[str, Tensor]:
        """Compute the measures, float64."""
        if len(self.differing) == 1:
            return {}
        differing = self.differing / self.count
        ratio = disagreement_ratio(differing, self.wrong / self.count)
        found = {"disagreement": pair_mean(differing), "kl": pair_mean(_kl(self.cross, self.count))}
        return found if ratio is None else found | {"ratio": ratio}


def diversity(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Compute `Diversity` of logits (M, N, K) and labels (N,)."""
    metric = Diversity(len(logits), sync_on_compute=False).to(logits.device)  # no other process takes part
    metric.update(logits, labels)
    return {name: value.item() for name, value in metric.compute().items()}
