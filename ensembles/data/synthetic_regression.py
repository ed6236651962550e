"""The noisy function of one variable on which MIMO is illustrated (Blundell et al., 2015; MIMO, section 2.1)."""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from ensembles.data.datamodule import DataModule
from ensembles.data.labelled_set import LabelledSet
from ensembles.data.sources import ImageSource
from ensembles.errors import UserError
from ensembles.likelihoods import Regression
from ensembles.limits import require
from ensembles.rng import generator

EXTRAPOLATION = "shift/extrapolation"


class Points(ImageSource):
    """Feature vectors (N, D), each an image of one pixel with D channels."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def gather(self, index: Tensor) -> Tensor:
        """Return the points at ``index`` (B,), float32 (B, D, 1, 1)."""
        return self.features.to(index.device)[index][..., None, None]


class RegressionDataModule(DataModule):
    """A number to predict from the D features of a point, which a batch has as an image of one pixel.

    After Lightning's transfer a batch is (x, y): x float32 (B, D, 1, 1) or (M, B, D, 1, 1) as ``deal`` has it, scaled
    by ``mean`` and ``std``; y float32 (B,) or (M, B) in its own unit, which the likelihood knows.

    Args:
        batch_size, seed, eval_batch_size: see `DataModule`.
        likelihood: how the network's outputs are a distribution over y.
        val_fraction: share of the training points held out.

    Raises:
        UserError: a setting out of its limits.
    """

    class_names = ()
    image_size = 1

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        *,
        likelihood: Regression,
        val_fraction: float = 0,
        eval_batch_size: int = 3000,
    ) -> None:
        super().__init__(batch_size, seed, eval_batch_size)
        require("data.", val_fraction=val_fraction)
        self.likelihood, self.num_classes, self.val_fraction = likelihood, likelihood.outputs, val_fraction

    def hold_out(self, points: LabelledSet, what: str) -> None:
        """Fill ``train`` and, where a share is held out, ``val`` with these points; the first ones are held out.

        Args:
            what: what the set must not be without, for the error.

        Raises:
            UserError: a share that leaves one of them empty.
        """
        held = round(self.val_fraction * len(points))
        if held >= len(points) or (self.val_fraction and not held):
            raise UserError(f"data.val_fraction={self.val_fraction} leaves training or validation without {what}.")
        if held:
            self.sets["val"] = points.subset(torch.arange(held))
        self.sets["train"] = points.subset(torch.arange(held, len(points)))


class SyntheticRegression(RegressionDataModule):
    """x uniform in an interval, y = x + 0.3 sin(2 pi (x + e)) + 0.3 sin(4 pi (x + e)) + e with e ~ N(0, noise^2).

    Args:
        train_size, test_size: points.
        interval: of training and test points.
        extrapolation: points outside ``interval`` but in this one are the set ``shift/extrapolation``; None for none.
        noise: standard deviation of e.
        set_seed: of the training points; the test points do not depend on it.
        settings: as `RegressionDataModule` takes them.

    Raises:
        UserError: a setting out of its limits.
    """

    in_channels = 1
    mean, std = [0.0], [1.0]  # points stay as they are drawn

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        *,
        train_size: int = 64,
        test_size: int = 3000,
        interval: Sequence[float] = (0, 0.5),
        extrapolation: Sequence[float] | None = None,
        noise: float = 0.02,
        set_seed: int = 0,
        **settings,
    ) -> None:
        super().__init__(batch_size, seed, **settings)
        require("data.", set_seed=set_seed, noise=noise, train_size=train_size, test_size=test_size)
        self.train_size, self.test_size, self.noise = train_size, test_size, noise
        self.interval = _interval("interval", interval)
        self.extrapolation = extrapolation and _interval("extrapolation", extrapolation)
        if extrapolation and not (self.extrapolation[0] < self.interval[0] or self.interval[1] < self.extrapolation[1]):
            raise UserError(f"data.extrapolation={list(extrapolation)} must reach beyond data.interval.")
        self.set_seed = set_seed

    @property
    def test_sets(self) -> dict[str, int]:
        """Name and size of each set that ``test_dataloader`` lists; the training points are among them."""
        return {name: len(labelled) for name, labelled in self.sets.items() if name != "val"}

    def setup(self, stage: str | None = None) -> None:
        if "train" not in self.sets:
            self.hold_out(self._drawn(self.train_size, self.interval, "train", self.set_seed), "a point")
        if stage in (None, "test") and "test" not in self.sets:
            self.sets["test"] = self._drawn(self.test_size, self.interval, "test")
            if self.extrapolation:
                self.sets[EXTRAPOLATION] = self._drawn(self.test_size, self.extrapolation, "extrapolation")

    def _drawn(self, size: int, interval: tuple[float, float], purpose: str, *key: int) -> LabelledSet:
        drawing = generator("synthetic_regression", purpose, *key)
        low, high = interval
        x = low + (high - low) * torch.rand(size, generator=drawing)
        if purpose == "extrapolation":
            x = _outside(x, interval, self.interval)
        e = self.noise * torch.randn(size, generator=drawing)
        return LabelledSet(Points(x[:, None]), noisy(x, e))


def noisy(x: Tensor, e: Tensor | float = 0.0) -> Tensor:
    """Return the function at x with the noise e: y of equal shape."""
    return x + 0.3 * torch.sin(2 * pi * (x + e)) + 0.3 * torch.sin(4 * pi * (x + e)) + e


def _outside(x: Tensor, wide: tuple[float, float], narrow: tuple[float, float]) -> Tensor:
    """Map points uniform in the wide interval to points uniform in the part of it outside the narrow one."""
    (low, high), (left, right) = wide, narrow
    below, above = max(0.0, left - low), max(0.0, high - right)
    along = (x - low) / (high - low) * (below + above)
    return torch.where(along < below, low + along, max(right, low) + along - below)


def _interval(key: str, value: object) -> tuple[float, float]:
    numbers = isinstance(value, Sequence) and all(isinstance(v, int | float) and abs(v) < float("inf") for v in value)
    if not numbers or len(value) != 2 or not value[0] < value[1]:
        raise UserError(f"data.{key} is {value!r}, but must be two numbers in ascending order, such as [0, 0.5].")
    return float(value[0]), float(value[1])
