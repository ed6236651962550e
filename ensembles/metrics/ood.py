"""Telling out-of-distribution examples apart by how unsure the ensemble is of them."""

import numpy as np
import torch
from sklearn.metrics import auc, average_precision_score, roc_curve
from torch import Tensor

from ensembles.metrics.predictive import chunks, require_finite


def _criteria(logits: Tensor) -> dict[str, Tensor]:
    log_members = logits.log_softmax(-1)
    members = log_members.exp()
    mean = members.mean(0)
    entropy = torch.special.entr(mean).sum(-1)
    found = {
        "max_probability": -mean.amax(-1),
        "max_logit": -logits.mean(0).amax(-1),
        "entropy": entropy,
    }
    if len(logits) > 1:
        members_entropy = -(members * log_members).sum(-1).mean(0)
        found["mutual_information"] = (entropy - members_entropy).clamp(min=0)
        found["variance"] = (members - mean).square().sum((0, -1)) / (len(logits) - 1)
    return found


def criteria(logits: Tensor) -> dict[str, Tensor]:
    """Each criterion's score of each example, (M, N, K) -> name: (N,), float64; the higher, the likelier out.

    ``max_probability``: minus the mean softmax's maximum; ``max_logit``: minus the mean logits' maximum; ``entropy`` of
    the mean softmax, nats; and for M > 1 ``mutual_information`` between prediction and member (that entropy minus the
    members' mean entropy, nats) and ``variance`` of the members' probabilities, summed over classes.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    require_finite(logits)
    parts = [_criteria(part) for part in chunks(logits)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def detection(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """How well scores tell out-of-distribution examples (the positives) from in-distribution ones: (N,), (N',).

    ``auroc``; ``aupr`` as average precision; ``fpr95``: the share of in-distribution examples at or above the highest
    threshold that finds at least 95 % of the others. Equal scores are taken together.
    """
    score = torch.cat([inside, outside]).cpu().numpy()
    is_out = np.repeat([0, 1], [len(inside), len(outside)])
    fpr, tpr, _ = roc_curve(is_out, score, drop_intermediate=False)
    return {
        "auroc": float(auc(fpr, tpr)),
        "aupr": float(average_precision_score(is_out, score)),
        "fpr95": float(fpr[np.argmax(tpr >= 0.95)]),
    }
