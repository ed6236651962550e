"""Accuracy and calibration on a shifted set, which may cover some of the classes, or hold frames of videos."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics.bins import equal_width
from ensembles.metrics.predicted import Predicted
from ensembles.metrics.predictive import log_mean


def shifted(name: str, predicted: Predicted, restrict: bool = True) -> dict[str, float]:
    """acc, nll and ece; for frames of videos also anchor_acc and pmk_acc.

    Where the set covers some classes, ``restrict`` leaves the others out of the softmax; else they compete. Where
    several classes are right for an example, their probabilities add up to the NLL's.

    ``anchor_acc`` is over each group's first frame, ``pmk_acc`` over groups, of which those are right whose frames all
    are (Shankar et al., 2021).

    Raises:
        UserError: what `Predicted.check` raises; a label that the set does not cover, a frame that it does not have.
    """
    predicted.check(name)
    logits, right = predicted.logits, _right(predicted)
    covered = _covered(predicted).to(logits.device)
    if not right[:, covered].any(1).all():
        raise UserError(f"The set {name!r} has labels of classes that it is said not to cover: check its class list.")
    if restrict and not covered.all():
        logits, right = logits[..., covered], right[:, covered]
    log_p = log_mean(logits)
    log_confidence, best = log_p.max(-1)
    correct = right.gather(1, best[:, None])[:, 0]
    found = {
        "acc": correct.double().mean(),
        "nll": -log_p.masked_fill(~right, -torch.inf).logsumexp(-1).mean(),
        "ece": equal_width(log_confidence.exp(), correct).error,
    }
    if predicted.groups:
        found |= _frames(name, correct.cpu(), predicted.groups)
    return {key: value.item() for key, value in found.items()}


def _alike(predicted: Predicted) -> list[list[int]]:
    """The classes that the set covers, those that count as one together."""
    classes = range(predicted.logits.shape[2]) if predicted.classes is None else predicted.classes
    return [[entry] if isinstance(entry, int) else list(entry) for entry in classes]


def _covered(predicted: Predicted) -> Tensor:
    """Whether the set covers each class, (K,)."""
    return torch.isin(
        torch.arange(predicted.logits.shape[2]), torch.tensor([k for group in _alike(predicted) for k in group])
    )


def _right(predicted: Predicted) -> Tensor:
    """Which classes are right for each example, (N, K)."""
    device = predicted.logits.device
    if predicted.accepted is not None:
        return predicted.accepted.to(device)
    counts_as = torch.arange(predicted.logits.shape[2])
    for group in _alike(predicted):
        counts_as[group] = group[0]
    counts_as = counts_as.to(device)
    return counts_as == counts_as[predicted.labels][:, None]


def _frames(name: str, correct: Tensor, groups: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    flat = torch.tensor([frame for group in groups for frame in group])
    sizes = torch.tensor([len(group) for group in groups])
    if sizes.min() == 0 or flat.min() < 0 or flat.max() >= len(correct):
        raise UserError(f"The set {name!r} has groups of frames that are empty or name frames that it does not have.")
    group = torch.arange(len(groups)).repeat_interleave(sizes)
    wrong = torch.zeros(len(groups), dtype=torch.long).index_add_(0, group, (~correct[flat]).long())
    anchors = flat[sizes.cumsum(0) - sizes]
    return {"anchor_acc": correct[anchors].double().mean(), "pmk_acc": (wrong == 0).double().mean()}
