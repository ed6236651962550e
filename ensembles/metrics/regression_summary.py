"""From outputs to the flat results of a regression."""

from collections.abc import Callable

from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics import regression
from ensembles.metrics.predicted import Predicted
from ensembles.metrics.predictive import require_finite

Moments = tuple[Tensor, Tensor | None]  # the members' means and, where they have them, variances, (M, N)


class RegressionSummary:
    """Everything that the members' outputs tell of numbers.

    Args:
        moments: from outputs (M, N, K) to the members' `Moments`.

    Attributes:
        sets: the predictions that were taken in, by the set's name.
    """

    def __init__(self, moments: Callable[[Tensor], Moments]) -> None:
        self._moments = moments
        self.sets: dict[str, Predicted] = {}

    def add(self, name: str, predicted: Predicted) -> None:
        """Take in a set: val, train, test or shift/<set>, in any order.

        Raises:
            UserError: a set that is empty or holds NaN or an infinity, or targets that are not one for each point.
        """
        points = predicted.logits.shape[1]
        if not points or predicted.labels.shape != (points,):
            raise UserError(f"The set {name!r} has {points} points and {len(predicted.labels)} targets: give each one.")
        require_finite(predicted.logits, f"The outputs on the set {name!r}")
        self.sets[name] = predicted

    def metric(self, name: str, outputs: Tensor) -> None:
        """None: of every set all outputs are needed."""

    def moments(self, name: str) -> Moments:
        """Means and variances of a set, float64."""
        return self._moments(self.sets[name].logits.double())

    def results(self) -> dict[str, float | list[float]]:
        """All results under flat keys, ready for JSON; in the target's unit, its square, and nats.

        Returns:
            ``test/<metric>`` of the ensemble, ``members/<metric>``, a list, of each member alone, ``train/<metric>``
            and ``shift/<set>/<metric>``, for mse, rmse and, where the likelihood has a density, nll; for M > 1
            ``diversity/variance``, by which the members' mean mse exceeds the ensemble's.

        Raises:
            UserError: no test set.
        """
        if "test" not in self.sets:
            raise UserError("There is no test set among the predictions, so nothing can be measured.")
        means, variances = self.moments("test")
        targets = self.sets["test"].labels.double()
        results = _prefixed("test", regression.scores(means, variances, targets))
        alone = [
            regression.scores(means[[m]], None if variances is None else variances[[m]], targets)
            for m in range(len(means))
        ]
        results |= {f"members/{key}": [member[key] for member in alone] for key in alone[0]}
        if len(means) > 1:
            results["diversity/variance"] = regression.variance(means).item()
        for name, predicted in self.sets.items():
            if name not in ("test", "val"):
                results |= _prefixed(name, regression.scores(*self.moments(name), predicted.labels.double()))
        return results


def _prefixed(prefix: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{key}": value for key, value in values.items()}
