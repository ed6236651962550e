"""Accuracy and calibration on shifted sets, and over the corrupted copies of a test set."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics.base import Predicted, log_mean
from ensembles.metrics.classification import equal_width


def shifted(name: str, predicted: Predicted, restrict: bool = True) -> dict[str, float]:
    """Compute acc, nll and ece; for frames of videos also anchor_acc and pmk_acc.

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
    """List the classes that the set covers, those that count as one together."""
    covered = range(predicted.logits.shape[2]) if predicted.covered_classes is None else predicted.covered_classes
    return [[entry] if isinstance(entry, int) else list(entry) for entry in covered]


def _covered(predicted: Predicted) -> Tensor:
    """Tell whether the set covers each class, (K,)."""
    return torch.isin(
        torch.arange(predicted.logits.shape[2]), torch.tensor([k for group in _alike(predicted) for k in group])
    )


def _right(predicted: Predicted) -> Tensor:
    """Tell which classes are right for each example, (N, K)."""
    device = predicted.logits.device
    if predicted.valid_labels is not None:
        return predicted.valid_labels.to(device)
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


# AlexNet's errors on ImageNet-C, means over the severities; its keys are the 15 standard types.
ALEXNET = {
    "gaussian_noise": 0.886,
    "shot_noise": 0.894,
    "impulse_noise": 0.923,
    "defocus_blur": 0.820,
    "glass_blur": 0.826,
    "motion_blur": 0.786,
    "zoom_blur": 0.798,
    "snow": 0.867,
    "frost": 0.827,
    "fog": 0.819,
    "brightness": 0.565,
    "contrast": 0.853,
    "elastic_transform": 0.646,
    "pixelate": 0.718,
    "jpeg_compression": 0.607,
}
CELLS = {(type, severity) for type in ALEXNET for severity in range(1, 6)}

Cells = Mapping[tuple[str, int], Mapping[str, float]]  # (type, severity) -> metric -> value


def average_cells(cells: Cells) -> dict[str, float]:
    """Average over cells, under flat keys.

    Returns:
        ``corrupted/<metric>`` over the standard types and ``corrupted_extra/<metric>`` over all others, each with
        ``cells``, the number of cells that there are: of the standard types 75, unless some were left out. Without
        cells of a kind there are no keys of it.
    """
    results: dict[str, float] = {}
    for prefix, standard in (("corrupted", True), ("corrupted_extra", False)):
        some = [values for (type, _), values in cells.items() if (type in ALEXNET) == standard]
        if some:
            results |= {f"{prefix}/{metric}": fmean(values[metric] for values in some) for metric in some[0]}
            results[f"{prefix}/cells"] = len(some)
    return results


def mean_corruption_error(cells: Cells) -> float | None:
    """Compute mCE, a fraction: each type's error over AlexNet's, averaged over the 15 types; None unless all are there.

    AlexNet's errors are those on ImageNet, so it says something about networks for ImageNet's 1,000 classes only.
    """
    if not cells.keys() >= CELLS:
        return None
    errors = {type: fmean(1 - cells[type, severity]["acc"] for severity in range(1, 6)) for type in ALEXNET}
    return fmean(error / ALEXNET[type] for type, error in errors.items())
