"""Temperature scaling (Guo et al., 2017): logits divided by one number, fitted to held-out examples."""

import math
import warnings
from dataclasses import dataclass

from scipy.optimize import brentq
from torch import Tensor

from ensembles.metrics.base import chunks, log_mean
from ensembles.metrics.classification import measure

COLDEST, HOTTEST = 1e-3, 1e3  # where a temperature is looked for
SCALED = ("acc", "nll", "ece", "brier")


@dataclass(frozen=True)
class Temperatures:
    """What held-out examples are likeliest at.

    Attributes:
        pool: of the averaged prediction, whose log-probabilities it divides.
        members: of each member, whose logits it divides.
    """

    pool: float
    members: list[float]


def fit(logits: Tensor, labels: Tensor) -> Temperatures:
    """Find the temperatures of least NLL on held-out logits (M, N, K) and labels (N,), to 1e-9 of their values.

    NLL is convex in 1/T. Where it has no minimum at a positive, finite T the temperature stays 1, with a warning: it
    falls for ever with T -> 0 if every example is predicted right, and with T -> infinity for predictions worse than
    chance.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    found = [best_temperature(log_mean(some), labels) for some in (logits, *logits[:, None])]
    if None in found:
        names = ["the ensemble", *(f"member {m + 1}" for m in range(len(logits)))]
        unfit = [name for name, temperature in zip(names, found, strict=True) if temperature is None]
        warnings.warn(
            f"No temperature is best for {', '.join(unfit)}, as the validation split is predicted without an error "
            "or no better than by chance: it stays 1.",
            stacklevel=2,
        )
    pool, *members = [1.0 if temperature is None else temperature for temperature in found]
    return Temperatures(pool, members)


def best_temperature(log_p: Tensor, labels: Tensor) -> float | None:
    """Find the T of softmax(log_p / T) of the least NLL: log_p (N, K) float64, labels (N,); None if there is none."""
    # of the label; where all are predicted right nothing is above 0, so neither is any rounded slope
    ahead = log_p - log_p.gather(1, labels[:, None])

    def slope(log_t: float) -> float:
        """Compute d NLL / d(1/T): the mean over examples of the expected logit less the label's."""
        parts = chunks(ahead[None])
        return sum(((part / math.exp(log_t)).softmax(-1) * part).sum().item() for part in parts) / len(ahead)

    low, high = math.log(COLDEST), math.log(HOTTEST)
    if slope(low) <= 0 or slope(high) >= 0:
        return None
    return math.exp(brentq(slope, low, high, xtol=1e-9))


def scaled(logits: Tensor, labels: Tensor, temperatures: Temperatures) -> dict[str, float | list[float]]:
    """Compute acc, nll, ece and brier at the temperatures, from logits (M, N, K) and labels (N,), under flat keys.

    Returns:
        ``pool/<metric>`` of the averaged prediction at its temperature; ``average/<metric>`` of the average of the
        members at theirs; ``members/<metric>``, a list, of each member alone at its own; ``pool/temperature`` and
        ``members/temperature``.
    """
    pool = log_mean(log_mean(logits)[None], [temperatures.pool])
    found: dict[str, dict[str, float | list[float]]] = {}
    found["pool"] = {**measure(pool, labels, SCALED), "temperature": temperatures.pool}
    found["average"] = {**measure(log_mean(logits, temperatures.members), labels, SCALED)}
    each = [
        measure(log_mean(member[None], [temperature]), labels, SCALED)
        for member, temperature in zip(logits, temperatures.members, strict=True)
    ]
    found["members"] = {name: [member[name] for member in each] for name in SCALED}
    found["members"]["temperature"] = temperatures.members
    return {f"{who}/{key}": value for who, values in found.items() for key, value in values.items()}
