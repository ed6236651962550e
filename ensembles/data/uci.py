"""Regression on tables: UCI sets by the protocol of Hernández-Lobato & Adams (2015), and scikit-learn's diabetes.

A run is of one split of the examples; results are told as mean and standard error over all splits.
"""

from abc import abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ensembles.data.labelled_set import LabelledSet
from ensembles.data.synthetic_regression import Points, RegressionDataModule
from ensembles.errors import UserError, reason
from ensembles.limits import require
from ensembles.rng import generator

SPLITS = 20
TEST_SHARE = 0.1
USUAL = {  # folders that go by longer names
    "boston": "bostonHousing",
    "naval": "naval-propulsion-plant",
    "power": "power-plant",
    "protein": "protein-tertiary-structure",
    "wine": "wine-quality-red",
    "year": "YearPredictionMSD",
}


class Split(NamedTuple):
    """A table and which of its N rows are trained and tested on.

    Attributes:
        features: (N, D), float64.
        targets: (N,), float64.
        train, test: positions.
    """

    features: np.ndarray
    targets: np.ndarray
    train: np.ndarray
    test: np.ndarray


class TableRegression(RegressionDataModule):
    """A number to predict from D others; a subclass reads the split.

    Features have mean 0 and deviation 1 over the training split.

    Args:
        split: which of the splits.
        settings: as `RegressionDataModule` takes them.

    Raises:
        UserError: a setting out of its limits, or files that are missing or damaged.
    """

    def __init__(self, batch_size: int, seed: int = 0, *, split: int = 0, **settings) -> None:
        super().__init__(batch_size, seed, **settings)
        require("data.", split=split)
        self.split = split
        self.table = self.read_split(split)
        features, targets = self.table.features[self.table.train], self.table.targets[self.table.train]
        self.in_channels = features.shape[1]
        self.mean, self.std = features.mean(0).tolist(), _spread(features).tolist()
        self.target_scale = {"target_mean": float(targets.mean()), "target_sd": float(_spread(targets))}

    @abstractmethod
    def read_split(self, split: int) -> Split:
        """Read the table and one of its splits."""

    def setup(self, stage: str | None = None) -> None:
        if self.sets:
            return
        table = self.table
        points = Points(torch.from_numpy(table.features).float())
        whole = LabelledSet(points, torch.from_numpy(table.targets).float())
        order = torch.from_numpy(table.train)
        if self.val_fraction:
            order = order[torch.randperm(len(order), generator=generator("uci", "val", self.split))]
        self.hold_out(whole.subset(order), "an example")
        self.sets["test"] = whole.subset(torch.from_numpy(table.test))


class UCI(TableRegression):
    """A set in its usual files: ``<root>/<name>/data/`` with data.txt, index_features.txt, index_target.txt,
    index_train_0.txt, index_test_0.txt and so on.

    Args:
        name: of the set's folder, such as yacht; boston and the like stand for the longer usual names.
        root: the folder that holds it.
        settings: as `TableRegression` takes them.
    """

    def __init__(self, batch_size: int, seed: int = 0, *, name: str, root: str = "data", **settings) -> None:
        self.name, self.root = name, Path(root).expanduser()
        super().__init__(batch_size, seed, **settings)

    def read_split(self, split: int) -> Split:
        folder = self._folder()
        table = _numbers(folder / "data.txt", 2)
        columns, (target, *more) = (
            _positions(folder / f"index_{name}.txt", table.shape[1]) for name in ("features", "target")
        )
        if more or target in columns:
            raise UserError(f"{folder / 'index_target.txt'} must name one column that is no feature's: mend it.")
        there = len(list(folder.glob("index_train_*.txt")))
        if not (folder / f"index_train_{split}.txt").is_file():
            raise UserError(f"{folder} has no split {split}: it has {there}, from data.split=0 on.")
        train, test = (_positions(folder / f"index_{part}_{split}.txt", len(table)) for part in ("train", "test"))
        if set(train.tolist()) & set(test.tolist()):
            raise UserError(f"Split {split} in {folder} tests on what it trains on: put the right files there.")
        return Split(table[:, columns], table[:, target], train, test)

    def _folder(self) -> Path:
        names = (self.name, USUAL.get(self.name, self.name))
        places = [self.root / name / "data" for name in names] + [self.root / name for name in names]
        found = next((place for place in places if (place / "data.txt").is_file()), None)
        if found is None:
            raise UserError(
                f"There is no {places[0] / 'data.txt'}: put the usual files there, or set data.root and data.name."
            )
        return found


class Diabetes(TableRegression):
    """scikit-learn's diabetes: ten numbers of each of 442 patients; how far the disease is a year later, 25 to 346."""

    def read_split(self, split: int) -> Split:
        from sklearn.datasets import load_diabetes

        if split >= SPLITS:
            raise UserError(f"data.split is {split}, but there are the splits 0 to {SPLITS - 1}.")
        features, targets = load_diabetes(return_X_y=True, scaled=False)
        order = torch.randperm(len(targets), generator=generator("diabetes", "split", split)).numpy()
        held = round(TEST_SHARE * len(targets))
        return Split(features.astype(float), targets.astype(float), np.sort(order[held:]), np.sort(order[:held]))


def _spread(values: np.ndarray) -> np.ndarray:
    """Compute the standard deviation over the first dimension; 1 for a constant, by which one can divide."""
    found = values.std(0)
    return np.where(found > 0, found, 1.0)


def _numbers(path: Path, dimensions: int) -> np.ndarray:
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file: put the right file there.")
    try:
        found = np.loadtxt(path, ndmin=dimensions)
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}: put the set's usual files there.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): put the right file there.") from error
    if not found.size or not np.isfinite(found).all():
        raise UserError(f"{path} holds no numbers, or some that are not finite: put the right file there.")
    return found


def _positions(path: Path, length: int) -> np.ndarray:
    """Read positions in a list of ``length``, each once."""
    found = _numbers(path, 1)
    positions = found.astype(int)
    if (positions != found).any() or positions.min() < 0 or positions.max() >= length:
        raise UserError(f"{path} must hold integers from 0 to {length - 1}: put the right file there.")
    if len(set(positions.tolist())) != len(positions):
        raise UserError(f"{path} holds a position twice: put the right file there.")
    return positions
