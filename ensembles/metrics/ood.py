"""Telling out-of-distribution examples apart by how unsure the ensemble is of them."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from ensembles.errors import UserError
from ensembles.metrics.base import EnsembleMetric, chunks, require_finite

CRITERIA = ("max_probability", "max_logit", "energy", "entropy", "mutual_information", "variance")
OF_ONE = CRITERIA[:4]  # that a single network has


def _criteria(logits: Tensor) -> dict[str, Tensor]:
    log_members = logits.log_softmax(-1)
    members = log_members.exp()
    mean = members.mean(0)
    entropy = torch.special.entr(mean).sum(-1)
    found = {
        "max_probability": -mean.amax(-1),
        "max_logit": -logits.mean(0).amax(-1),
        "energy": -logits.mean(0).logsumexp(-1),
        "entropy": entropy,
    }
    if len(logits) > 1:
        members_entropy = -(members * log_members).sum(-1).mean(0)
        found["mutual_information"] = (entropy - members_entropy).clamp(min=0)
        found["variance"] = (members - mean).square().sum((0, -1)) / (len(logits) - 1)
    return found


def criteria(logits: Tensor) -> dict[str, Tensor]:
    """Score each example by each criterion, (M, N, K) -> name: (N,), float64; the higher, the likelier out.

    ``max_probability``: minus the mean softmax's maximum; ``max_logit``: minus the mean logits' maximum; ``energy``:
    minus the mean logits' log-sum-exp (Liu et al., 2020, at T = 1); ``entropy`` of the mean softmax, nats; and for
    M > 1 ``mutual_information`` between prediction and member (that entropy minus the members' mean entropy, nats) and
    ``variance`` of the members' probabilities, summed over classes.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    require_finite(logits)
    parts = [_criteria(part) for part in chunks(logits)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def detection(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """Measure how well scores tell out-of-distribution examples (the positives) from in-distribution ones: (N,), (N',).

    ``auroc``; ``aupr`` as average precision; ``fpr95``: the share of in-distribution examples at or above the highest
    threshold that finds at least 95 % of the others. Equal scores are taken together.
    """
    # torchmetrics squashes scores outside [0, 1], by which different ones can become equal: ranks stay apart
    _, rank = torch.cat([inside, outside]).unique(return_inverse=True)
    score = rank.double() / max(1, int(rank.max()))
    is_out = torch.arange(len(score), device=score.device) >= len(inside)
    # by counts, since in single precision, as torchmetrics has its curves, 19 of 20 is less than 95 %
    found = -(-95 * len(outside) // 100)
    threshold = outside.sort(descending=True).values[found - 1]
    return {
        "auroc": binary_auroc(score, is_out.long()).item(),
        "aupr": binary_average_precision(score, is_out.long()).item(),
        "fpr95": (inside >= threshold).double().mean().item(),
    }


class OODScores(EnsembleMetric):
    """Collect each criterion's score of every example of a set, name -> (N,); see `criteria`.

    The labels that it is updated with do not matter. Two sets' scores are held against each other by `detection`.

    Args:
        M: number of members; one has no criteria that compare members.
    """

    def __init__(self, M: int, **settings) -> None:
        super().__init__(**settings)
        self.names = CRITERIA if M > 1 else OF_ONE
        for name in self.names:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor | None = None) -> None:
        """Take in members' logits (M, B, K).

        Raises:
            UserError: NaN or an infinity among the logits.
        """
        for name, score in criteria(logits).items():
            getattr(self, name).append(score)

    def compute(self) -> dict[str, Tensor]:
        """Join the scores, float64, in the order in which they came, process after process."""
        return {name: dim_zero_cat(getattr(self, name)) for name in self.names}


class OODDetection(EnsembleMetric):
    """Tell out-of-distribution examples from in-distribution ones: AUROC, AUPR and FPR95, as a dictionary.

    Args:
        M: number of members.
        criterion: which score; see `criteria`.

    Raises:
        UserError: a criterion that there is not for M members.
    """

    def __init__(self, M: int, criterion: str = "max_probability", **settings) -> None:
        super().__init__(**settings)
        known = CRITERIA if M > 1 else OF_ONE
        if criterion not in known:
            raise UserError(f"criterion is {criterion!r}, but must be one of {', '.join(known)} where M is {M}.")
        self.criterion = criterion
        self.add_state("score", [], dist_reduce_fx="cat")
        self.add_state("is_out", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, is_out: Tensor) -> None:
        """Take in members' logits (M, B, K), and whether each example is out of distribution, (B,).

        Raises:
            UserError: NaN or an infinity among the logits.
        """
        self.score.append(criteria(logits)[self.criterion])
        self.is_out.append(is_out.double())

    def compute(self) -> dict[str, float]:
        """Compute `detection`."""
        score, is_out = dim_zero_cat(self.score), dim_zero_cat(self.is_out) > 0
        return detection(score[~is_out], score[is_out])
