"""Which of a data set's examples are used, and for what."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ensembles.data.examples import Examples
from ensembles.data.splits import stratified
from ensembles.errors import UserError

if TYPE_CHECKING:
    from ensembles.data.module import ImageDataModule


def training_parts(data: "ImageDataModule", train: Examples, val: Examples | None) -> dict[str, Examples]:
    """The sets ``train`` and, unless it is not wanted, ``val``; held out from ``train`` where there is none.

    Raises:
        UserError: a part without images, or a training subset that cannot be had.
    """
    if not data.val_fraction:
        val = None
    elif val is None:
        train, val = hold_out(train, data.val_fraction)
    sets = {"train": _subset(data, data.in_use(train))}
    if val is not None:
        sets["val"] = data.in_use(val)
    return {name: filled(data, name, examples) for name, examples in sets.items()}


def hold_out(train: Examples, share: float) -> tuple[Examples, Examples]:
    """The rest of the training examples and a stratified share of them."""
    held = torch.zeros(len(train), dtype=torch.bool)
    held[stratified(train.labels, round(share * len(train)), "val", spare=1)] = True
    return train.subset(~held), train.subset(held)


def among(examples: Examples, classes: Sequence[int], total: int) -> Examples:
    """The examples of the classes in use, their labels numbered anew."""
    new = torch.full((total,), -1)
    new[list(classes)] = torch.arange(len(classes))
    labels = new[examples.labels]
    return replace(examples, labels=labels).subset(labels >= 0)


def left_out(examples: Examples, classes: Sequence[int]) -> Examples:
    """The examples of all other classes, without labels."""
    others = ~torch.isin(examples.labels, torch.tensor(list(classes)))
    return unlabelled(examples.subset(others))


def unlabelled(examples: Examples) -> Examples:
    return replace(examples, labels=torch.full_like(examples.index, -1))


def filled(data: "ImageDataModule", name: str, examples: Examples) -> Examples:
    """The examples, if there are any.

    Raises:
        UserError: there are none.
    """
    if not len(examples):
        fix = "set data.val_fraction=0 or hold out more" if name == "val" else "check data.classes"
        raise UserError(f"The {name} set of {type(data).__name__} has no image left: {fix}.")
    return examples


def class_indices(classes: list[int | str], names: Sequence[str]) -> list[int]:
    """Numbers of classes that are given by number or name.

    Raises:
        UserError: one that there is not, or one twice, or a single one.
    """
    numbers = {name: index for index, name in enumerate(names)}
    indices = []
    for entry in classes:
        index = numbers.get(entry, -1) if isinstance(entry, str) else entry
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(names):
            known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise UserError(
                f"data.classes has {entry!r}, but the classes are 0 to {len(names) - 1}, or by name {known}."
            )
        indices.append(index)
    if len(set(indices)) < max(2, len(indices)):
        raise UserError(f"data.classes={classes} must name two or more classes, each once.")
    return indices


def _subset(data: "ImageDataModule", train: Examples) -> Examples:
    if data.train_size is None:
        return train
    if not isinstance(data.train_size, int) or not data.num_classes <= data.train_size <= len(train):
        raise UserError(
            f"data.train_size is {data.train_size!r}, but must be an integer from {data.num_classes}, the number "
            f"of classes, to {len(train)}, the training images that the validation split leaves."
        )
    return train.subset(stratified(train.labels, data.train_size, "train", least=1))
