"""From logits to the flat results that a run writes down."""

from collections.abc import Mapping

from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics.classification import METRICS, scores
from ensembles.metrics.diversity import diversity
from ensembles.metrics.ood import criteria, detection
from ensembles.metrics.predictive import require_finite

SHIFT_METRICS = ("acc", "nll", "ece")


def _check(name: str, logits: Tensor, labels: Tensor | None = None) -> None:
    if logits.shape[1] == 0:
        raise UserError(f"The set {name!r} is empty: give it at least one image, or leave it out.")
    require_finite(logits, f"The logits of the set {name!r}")
    if labels is None:
        return
    if labels.shape != logits.shape[1:2]:
        raise UserError(f"The set {name!r} has {logits.shape[1]} images but {len(labels)} labels: give each one.")
    low, high, classes = labels.min().item(), labels.max().item(), logits.shape[2]
    if low < 0 or high >= classes:
        raise UserError(
            f"The set {name!r} has labels from {low} to {high}, but the network tells {classes} classes apart: "
            f"its labels must lie from 0 to {classes - 1}."
        )


def _prefixed(prefix: str, values: Mapping) -> dict:
    return {f"{prefix}/{key}": value for key, value in values.items()}


def summarise(
    test: tuple[Tensor, Tensor],
    ood: Mapping[str, Tensor] | None = None,
    shift: Mapping[str, tuple[Tensor, Tensor]] | None = None,
) -> dict[str, float | list[float]]:
    """Everything that the members' logits tell, under flat keys, ready for JSON.

    Args:
        test: the test set's logits (M, N, K) and labels (N,).
        ood: for each out-of-distribution set its logits (M, N', K).
        shift: for each shifted set its logits (M, N', K') and labels (N',) among those K' classes.

    Returns:
        ``test/<metric>`` of the ensemble and ``members/<metric>``, a list, of each member alone, for acc, nll, ece,
        brier, aece (equal-mass bins), cece (class-wise) and aurc; ``diversity/disagreement|kl|ratio`` for M > 1;
        ``shift/<set>/acc|nll|ece``; ``ood/<set>/<criterion>/auroc|aupr|fpr95`` with the criteria of
        `ensembles.metrics.ood.criteria`. Fractions in [0, 1], nats.

    Raises:
        UserError: a set that is empty, holds NaN or an infinity, or whose labels do not fit its logits.
    """
    logits, labels = test
    _check("test", logits, labels)
    members = [scores(member[None], labels) for member in logits]
    results = _prefixed("test", scores(logits, labels))
    results |= {f"members/{name}": [member[name] for member in members] for name in METRICS}
    results |= _prefixed("diversity", diversity(logits, labels))

    for name, (shifted, shifted_labels) in (shift or {}).items():
        _check(f"shift/{name}", shifted, shifted_labels)
        results |= _prefixed(f"shift/{name}", scores(shifted, shifted_labels, SHIFT_METRICS))

    inside = criteria(logits) if ood else {}
    for name, outside_logits in (ood or {}).items():
        _check(f"ood/{name}", outside_logits)
        outside = criteria(outside_logits)
        for criterion, score in inside.items():
            results |= _prefixed(f"ood/{name}/{criterion}", detection(score, outside[criterion]))
    return results
