"""How differently members predict, from logits (M, N, K) with M > 1, over ordered pairs of different members."""

import torch
from torch import Tensor

from ensembles.metrics.predictive import chunks, require_finite


def differs(logits: Tensor) -> Tensor:
    """Whether two members predict different classes: (M, N, K) -> (M, M, N), bool.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    require_finite(logits)
    predicted = logits.argmax(-1)
    return predicted[:, None] != predicted


def disagreement_matrix(logits: Tensor) -> Tensor:
    """Share of examples on which two members predict different classes: (M, M), float64, zero diagonal."""
    return differs(logits).double().mean(-1)


def disagreement_by_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean pairwise disagreement on each class's examples: (K,), float64; NaN for a class without examples."""
    members, _, classes = logits.shape
    each = differs(logits).double().sum((0, 1)) / (members * (members - 1))
    total = each.new_zeros(classes).index_add_(0, labels, each)
    return total / labels.bincount(minlength=classes)


def kl_matrix(logits: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence from member m to member n, KL(p_m || p_n) in nats: (M, M), float64."""
    members, count, _ = logits.shape
    cross = logits.new_zeros(members, members, dtype=torch.float64)
    for part in chunks(logits):
        log_p = part.log_softmax(-1).flatten(1)
        cross += log_p.exp() @ log_p.T
    return ((cross.diagonal()[:, None] - cross) / count).clamp(min=0)  # copies: 0, whatever the rounding


def pair_mean(matrix: Tensor) -> Tensor:
    """Mean of an (M, M) matrix over the ordered pairs of different members."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)].mean()


def diversity(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Pairwise diversity of M members; {} for M = 1, which has no pairs.

    ``disagreement`` and ``kl`` (nats) are means over examples and pairs (MIMO, section 3.2). ``ratio`` is the pairwise
    share of differing predictions over the error rate of the pair's first member (Fort et al., 2019; Mixture, section
    5.3): 0 for copies, 2 for networks of equal error that never err on the same example. Pairs whose first member makes
    no error have no ratio and are left out of its mean; where no member errs there is no ``ratio``.
    """
    if len(logits) == 1:
        return {}
    apart = disagreement_matrix(logits)
    result = {"disagreement": pair_mean(apart).item(), "kl": pair_mean(kl_matrix(logits)).item()}
    error = (logits.argmax(-1) != labels).double().mean(-1)
    errs = error > 0
    if errs.any():
        # the diagonal is zero, so a row's sum is over its M - 1 pairs
        result["ratio"] = (apart[errs].sum(-1) / error[errs] / (len(logits) - 1)).mean().item()
    return result
