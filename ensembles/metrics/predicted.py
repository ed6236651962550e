"""A set's predictions: what all metrics start from."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ensembles.errors import UserError
from ensembles.metrics.predictive import require_finite


class Predicted(NamedTuple):
    """The members' logits on a set of examples, of a regression their outputs.

    Attributes:
        logits: (M, N, K).
        labels: (N,), among the K classes; -1 in an out-of-distribution set; of a regression the numbers to predict.
        classes: the classes that a shifted set covers, where it does not cover all; several of the K that count as one
            there stand together in a list of their own.
        accepted: (N, K), bool: which classes are right for each example, where that is more than its label says.
        groups: for frames of videos, each group's positions in the set: the frame in question and those like it.
        inputs: of points their features, (N, D).
    """

    logits: Tensor
    labels: Tensor
    classes: Sequence[int | Sequence[int]] | None = None
    accepted: Tensor | None = None
    groups: Sequence[Sequence[int]] | None = None
    inputs: Tensor | None = None

    def check(self, name: str, labelled: bool = True) -> None:
        """Refuse what cannot be measured.

        Raises:
            UserError: no examples, NaN or an infinity, or labels that do not fit the logits.
        """
        _, images, classes = self.logits.shape
        if images == 0:
            raise UserError(f"The set {name!r} is empty: give it at least one image, or leave it out.")
        require_finite(self.logits, f"The logits of the set {name!r}")
        if self.labels.shape != (images,):
            raise UserError(f"The set {name!r} has {images} images but {len(self.labels)} labels: give each one.")
        low, high = self.labels.min().item(), self.labels.max().item()
        if labelled and not 0 <= low <= high < classes:
            raise UserError(
                f"The set {name!r} has labels from {low} to {high}, but the network tells {classes} classes apart: "
                f"its labels must lie from 0 to {classes - 1}."
            )
