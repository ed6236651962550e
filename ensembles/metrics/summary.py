"""From logits to the flat results that a run writes down."""

from collections.abc import Iterable, Mapping
from statistics import fmean

from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ensembles.errors import UserError
from ensembles.metrics import temperature
from ensembles.metrics.base import Predicted, log_mean, prefixed
from ensembles.metrics.classification import (
    AURC,
    ECE,
    METRICS,
    NLL,
    Accuracy,
    BrierScore,
    coverage_at_risk,
    scores,
    statistics,
)
from ensembles.metrics.conformal import conformal
from ensembles.metrics.diversity import Diversity, diversity
from ensembles.metrics.ood import OODScores, criteria, detection
from ensembles.metrics.shift import average_cells, mean_corruption_error, shifted

CELL = ("acc", "nll", "ece")  # told of each type and severity; these and the next of their average
AVERAGED = (*CELL, "brier", "aurc", "members_acc", "disagreement")
IMAGENET_CLASSES = 1000


class Summary:
    """Everything that the members' logits tell, each set reduced as it comes; only the test set's logits are kept.

    Args:
        temperature_scaling: fit temperatures to the set ``val``, and measure the test set at them too.
        restrict_classes: whether a shifted set that covers some of the classes is predicted among these only.
        energy: whether the energy score is among the criteria that tell out-of-distribution examples.
        risk: the error rate at which the largest share of examples that can be decided is told; None for not.
        conformal: the share of prediction sets that may miss their label, calibrated on the set ``val``, or on half of
            the test set where there is none; None for no sets.

    Attributes:
        test: the test set's predictions, once they are there.
        ood_scores: for ``test`` and each out-of-distribution set the criteria's scores, name: (N,); see
            `ensembles.metrics.ood.criteria`.
    """

    def __init__(
        self,
        *,
        temperature_scaling: bool = False,
        restrict_classes: bool = True,
        energy: bool = False,
        risk: float | None = None,
        conformal: float | None = None,
    ) -> None:
        self.temperature_scaling, self.restrict_classes = temperature_scaling, restrict_classes
        self.energy, self.risk, self.conformal = energy, risk, conformal
        self.test: Predicted | None = None
        self.ood_scores: dict[str, dict[str, Tensor]] = {}
        self._temperatures: temperature.Temperatures | None = None
        self._calibration: tuple[Tensor, Tensor] | None = None
        self._shifted: dict[str, dict[str, float]] = {}
        self._cells: dict[tuple[str, int], dict[str, float]] = {}

    def add(self, name: str, predicted: Predicted) -> None:
        """Take in a set: val, test, ood/<set>, shift/<set> or corrupted/<type>/<severity>, in any order.

        Raises:
            UserError: a set that is empty, holds NaN or an infinity, or whose labels do not fit its logits.
        """
        kind, *rest = name.split("/")
        predicted.check(name, labelled=kind != "ood")
        if kind == "val":
            if self.temperature_scaling:
                self._temperatures = temperature.fit(predicted.logits, predicted.labels)
            if self.conformal is not None:
                self._calibration = predicted.logits, predicted.labels
        elif kind == "test":
            self.test = predicted
            self.ood_scores["test"] = criteria(predicted.logits)
        elif kind == "ood":
            self.ood_scores[name] = criteria(predicted.logits)
        elif kind == "shift":
            self._shifted[name] = shifted(name, predicted, self.restrict_classes)
        elif kind == "corrupted":
            type, severity = rest
            self._cells[type, int(severity)] = _cell(predicted.logits, predicted.labels)
        else:
            raise UserError(f"The set {name!r} is none of val, test, ood/..., shift/... and corrupted/...: rename it.")

    def metric(self, name: str, logits: Tensor) -> Metric | MetricCollection | None:
        """Make what reduces a set's batches as they come, on the device of its first logits (M, B, K).

        None for a set whose whole logits are needed, which `add` takes in; else `take_reduced` takes what it computes.
        """
        kind = name.partition("/")[0]
        if kind == "ood":
            return OODScores(len(logits)).to(logits.device)
        if kind == "corrupted":
            of_ensemble = {"acc": Accuracy(), "nll": NLL(), "ece": ECE(), "brier": BrierScore(), "aurc": AURC()}
            of_members = {"members_acc": Accuracy("members"), "diversity": Diversity(len(logits))}
            return MetricCollection(of_ensemble | of_members).to(logits.device)
        return None

    def take_reduced(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Take in what the `metric` of a set has computed."""
        kind, *rest = name.split("/")
        if kind == "ood":
            self.ood_scores[name] = {criterion: score.cpu() for criterion, score in values.items()}
        else:
            told = {key: value.mean().item() for key, value in values.items() if key in AVERAGED}
            self._cells[rest[0], int(rest[1])] = told

    def results(self) -> dict[str, float | list[float]]:
        """Compute all results under flat keys, ready for JSON; fractions in [0, 1], nats.

        Returns:
            ``test/<metric>`` of the ensemble and ``members/<metric>``, a list, of each member alone, for acc, nll, ece,
            brier, aece (equal-mass bins), cece (class-wise) and aurc; ``diversity/disagreement|kl|ratio`` for M > 1;
            ``scaled/...``, see `ensembles.metrics.temperature.scaled`; ``selective/coverage`` at the risk asked for;
            ``conformal/lac|aps/coverage|size|threshold``; ``corrupted/acc|nll|ece|brier|aurc|cells``, of
            the members ``corrupted/members_acc|disagreement``, for all of ImageNet-C ``corrupted/mce``, and
            ``corrupted_extra/...``, see `ensembles.metrics.shift`;
            ``shift/<set>/...``, see `ensembles.metrics.shift`; ``ood/<set>/<criterion>/auroc|aupr|fpr95``;
            ``corrupted/<type>/<severity>/acc|nll|ece``.

        Raises:
            UserError: no test set; temperatures asked for without a validation split.
        """
        if self.test is None:
            raise UserError("There is no test set among the predictions, so nothing can be measured.")
        logits, labels = self.test[:2]
        each = [scores(member[None], labels) for member in logits]
        results = prefixed("test", scores(logits, labels))
        results |= {f"members/{name}": [member[name] for member in each] for name in METRICS}
        results |= prefixed("diversity", diversity(logits, labels))
        if self.temperature_scaling:
            if self._temperatures is None:
                raise UserError("evaluation.temperature_scaling needs a validation split: set data.val_fraction.")
            results |= prefixed("scaled", temperature.scaled(logits, labels, self._temperatures))
        if self.risk is not None:
            covered = coverage_at_risk(statistics(log_mean(logits), labels), self.risk)
            results |= {"selective/coverage": covered.item(), "selective/risk": self.risk}
        if self.conformal is not None:
            results |= prefixed("conformal", conformal(logits, labels, self.conformal, self._calibration))
        results |= average_cells(self._cells)
        error = mean_corruption_error(self._cells)
        if error is not None and logits.shape[2] == IMAGENET_CLASSES:
            results["corrupted/mce"] = error
        for name, values in self._shifted.items():
            results |= prefixed(name, values)
        inside = self.ood_scores["test"]
        for name, outside in self.ood_scores.items():
            if name != "test":
                for criterion, score in inside.items():
                    if criterion != "energy" or self.energy:
                        results |= prefixed(f"{name}/{criterion}", detection(score, outside[criterion]))
        for (type, severity), values in self._cells.items():
            results |= prefixed(f"corrupted/{type}/{severity}", {key: values[key] for key in CELL})
        return results


def _cell(logits: Tensor, labels: Tensor) -> dict[str, float]:
    found = scores(logits, labels, ("acc", "nll", "ece", "brier", "aurc"))
    found["members_acc"] = fmean(scores(member[None], labels, ("acc",))["acc"] for member in logits)
    return found | {key: value for key, value in diversity(logits, labels).items() if key in AVERAGED}


def summarise(sets: Iterable[tuple[str, Predicted]], **settings) -> dict[str, float | list[float]]:
    """Compute the results of named sets; names, settings, results and errors as `Summary` has them."""
    summary = Summary(**settings)
    for name, predicted in sets:
        summary.add(name, predicted)
    return summary.results()
