"""What each result is: the one schema of results.json, and numbers as the papers print them. Imports no numpy."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real

MISSING = "-"
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}  # behind a head: which way is better


def percent(fraction: float | None) -> str:
    """Write 0.9412 as 94.1, without the sign: a column's head carries it."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def decimal(value: float | None) -> str:
    """Write 0.12345 as 0.123; large ones lose decimals rather than widen a column."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.1f}" if abs(value) < 1e6 else f"{value:.3g}"


def three_digits(value: float | None) -> str:
    """Write 0.0062612 as 0.00626."""
    return MISSING if value is None else f"{value:#.3g}"


def count(value: float | None) -> str:
    """Write 8175784 as 8.18 M, 480900000 as 481 M, 640 as 640."""
    if value is None:
        return MISSING
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:  # what would round to 1000 of the smaller unit is 1.00 of this one
            return f"{_significant(value / size)} {letter}"
    return _significant(value) if value % 1 else f"{value:.0f}"


def _significant(value: float) -> str:
    return f"{value:.{max(0, 3 - len(str(int(abs(value) * 1.0005))))}f}"


def mean(values: list[float] | None) -> float | None:
    return statistics.fmean(values) if values else None


@dataclass(frozen=True)
class Measure:
    """A result as it is shown.

    Attributes:
        label: in words, without its unit.
        unit: %, nats, or the size of the unit in which figures count.
        scale: times the result gives what figures draw.
        better: higher, lower or None.
        show: the number for a table, which counts in its own units.
        brief: the label where there is little room.
        full: the label where there is much, with its unit.
    """

    label: str
    unit: str = ""
    scale: float = 1.0
    better: str | None = None
    show: Callable[[float | None], str] = decimal
    brief: str = ""
    full: str = ""

    @property
    def digits(self) -> int:
        """After the point, as figures print it."""
        return 1 if self.unit == "%" else 3

    @property
    def axis(self) -> str:
        """Label and unit, for an axis."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def head(self, brief: bool = False) -> str:
        """Write the label for a column of a table."""
        label = (brief and self.brief) or self.label
        return f"{label} %" if self.unit == "%" else label


def _share(label: str, better: str | None = "higher", **settings) -> Measure:
    return Measure(label, "%", 100, better, percent, **settings)


MEASURES = {  # by the last part of a key, or by the whole key
    "acc": _share("accuracy", brief="acc"),
    "nll": Measure("NLL", "nats", better="lower"),
    "ece": Measure("ECE", better="lower"),
    "brier": Measure("Brier", better="lower"),
    "aurc": Measure("AURC", better="lower"),
    "mse": Measure("MSE", better="lower", show=three_digits),
    "rmse": Measure("RMSE", better="lower", show=three_digits),
    "loss": Measure("loss", better="lower"),
    "lr": Measure("learning rate"),
    "mce": _share("mCE", "lower", full="mCE %, AlexNet's being 100"),
    "anchor_acc": _share("accuracy", full="anchor frames"),
    "pmk_acc": _share("accuracy", full="with all frames like them"),
    "auroc": _share("AUROC"),
    "aupr": _share("AUPR"),
    "fpr95": _share("FPR95", "lower"),
    "disagreement": _share("disagreement", None, brief="differ", full="disagreement between pairs, % of images"),
    "kl": Measure("KL divergence", "nats", full="KL divergence between pairs, nats"),
    "ratio": Measure("disagreement / error", full="disagreement / error rate"),
    "diversity/variance": Measure(
        "variance", show=three_digits, full="variance of the members' predictions, MSE that averaging saves"
    ),
    "params": Measure("parameters", "M", 1e-6, show=count, brief="params"),
    "member_params": Measure("one member's parameters", "M", 1e-6, show=count, brief="one member"),
    "mult_adds": Measure("multiply-adds", "G", 1e-9, show=count, brief="mult-adds", full="multiply-adds per image"),
    "forward_passes": Measure("forward passes", brief="passes", full="forward passes of the backbone"),
    "images_per_second": Measure("images per second", show=count),
    "ms_per_image": Measure("milliseconds per image"),
    "training": Measure("training step (single network = 1)", better="lower"),
    "inference": Measure("forward pass (single network = 1)", better="lower"),
    "selective/coverage": _share("coverage at the risk", full="coverage at that error rate, surest first, %"),
    "selective/risk": _share("risk", None, full="error rate that is allowed, %"),
    "conformal/lac/coverage": _share("LAC coverage", None, full="labels in their LAC sets, %"),
    "conformal/lac/size": Measure("LAC size", better="lower", full="classes in a LAC set"),
    "conformal/lac/threshold": Measure("LAC threshold", full="threshold of LAC's score"),
    "conformal/aps/coverage": _share("APS coverage", None, full="labels in their APS sets, %"),
    "conformal/aps/size": Measure("APS size", better="lower", full="classes in an APS set"),
    "conformal/aps/threshold": Measure("APS threshold", full="threshold of APS's score"),
    "members/acc": _share("members", full="members' accuracy"),
    "members_acc": _share("members' accuracy"),
    "corrupted/acc": _share("corrupted", brief="cAcc"),
    "corrupted/nll": Measure("corrupted NLL", "nats", better="lower", brief="cNLL"),
    "corrupted/ece": Measure("corrupted ECE", better="lower", brief="cECE"),
}
CRITERIA = {
    "max_probability": "maximum probability",
    "max_logit": "maximum logit",
    "energy": "energy",
    "entropy": "entropy",
    "mutual_information": "mutual information",
    "variance": "variance",
}
DECISIONS = tuple(key for key in MEASURES if key.startswith(("selective/", "conformal/")))
SOURCES = {
    "test": "ensemble",
    "members": "members' mean",
    "corrupted": "corrupted images",
    "diversity": "",
    "selective": "",
    "conformal": "",
    "speed": "",
}


def quantity(key: str) -> Measure:
    """Find what kind of number a key of results.json has, whatever it is of: of corrupted/acc, accuracy."""
    return MEASURES.get(key.rpartition("/")[2]) or MEASURES.get(key) or Measure(key)


def column(key: str) -> Measure:
    """Find what heads a column of a key of results.json: of corrupted/acc, corrupted accuracy."""
    return MEASURES.get(key) or quantity(key)


def repeated_over(key: str) -> str:
    """Say over what a figure repeats a number of a key: rounds of a stopwatch, or seeds of runs."""
    return "rounds" if key.startswith("speed/") else "seeds"


def best_shown(of: Measure, means: Iterable[float | None]) -> str | None:
    """Write the best mean of a column as it is shown, so that means that read the same are best together.

    Returns:
        None where neither way is better, or fewer than two means are there.
    """
    found = [mean for mean in means if mean is not None]
    if of.better is None or len(found) < 2:
        return None
    return of.show(max(found) if of.better == "higher" else min(found))


def source_label(key: str) -> str:
    """Say whose it is: the ensemble's, the members', or by which criterion out-of-distribution images are told."""
    first = key.partition("/")[0]
    return CRITERIA[key.split("/")[2]] if first == "ood" else SOURCES.get(first, first)


def number(results: Mapping, key: str) -> float | None:
    """Find the result, of a list its mean; None where there is none."""
    found = results.get(key)
    return mean(found) if isinstance(found, list) else found


def finite(value: object) -> float | None:
    """Find the number, of a list of numbers their mean; None for all else, NaN and infinities among it."""
    numbers = value if isinstance(value, list) and value else [value]
    return mean(numbers) if all(isinstance(one, Real) and math.isfinite(one) for one in numbers) else None


def scaled(results: Mapping, key: str) -> float | None:
    """Find the number that a figure shows; None where there is none."""
    found = number(results, key)
    return None if found is None else quantity(key).scale * found
