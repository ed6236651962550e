"""What the results' keys are called in a figure. Torch is not imported here."""

import statistics
from collections.abc import Mapping
from typing import NamedTuple

CRITERIA = {
    "max_probability": "maximum probability",
    "max_logit": "maximum logit",
    "entropy": "entropy",
    "mutual_information": "mutual information",
    "variance": "variance",
}


class Quantity(NamedTuple):
    """A result as a figure shows it.

    Attributes:
        label: with its unit.
        scale: times the result gives what is drawn.
        higher: whether more is better; None where neither is.
    """

    label: str
    scale: float = 1.0
    higher: bool | None = None


_LAST = {
    "acc": Quantity("accuracy (%)", 100, True),
    "nll": Quantity("NLL (nats)", higher=False),
    "ece": Quantity("ECE", higher=False),
    "brier": Quantity("Brier score", higher=False),
    "auroc": Quantity("AUROC (%)", 100, True),
    "aupr": Quantity("AUPR (%)", 100, True),
    "fpr95": Quantity("FPR95 (%)", 100, False),
    "disagreement": Quantity("disagreement (%)", 100),
    "kl": Quantity("KL divergence (nats)"),
    "ratio": Quantity("disagreement / error"),
    "params": Quantity("parameters (M)", 1e-6),
    "mult_adds": Quantity("multiply-adds (G)", 1e-9),
    "training": Quantity("training step (single network = 1)", higher=False),
    "inference": Quantity("forward pass (single network = 1)", higher=False),
    "images_per_second": Quantity("images a second"),
}
OF_WHAT = {
    "test": "ensemble",
    "members": "members' mean",
    "corrupted": "corrupted images",
    "diversity": "",
    "speed": "",
}


def quantity(key: str) -> Quantity:
    """The quantity of a key of results.json, such as test/acc or ood/svhn/entropy/aupr."""
    return _LAST.get(key.rpartition("/")[2], Quantity(key))


def of_what(key: str) -> str:
    """Whose it is: the ensemble's, the members', or by which criterion out-of-distribution images are told."""
    first = key.partition("/")[0]
    return CRITERIA[key.split("/")[2]] if first == "ood" else OF_WHAT.get(first, first)


def value(results: Mapping, key: str) -> float | None:
    """The number that a figure shows, of a list its mean; None where there is none."""
    found = results.get(key)
    if found is None:
        return None
    return quantity(key).scale * (statistics.fmean(found) if isinstance(found, list) else found)
