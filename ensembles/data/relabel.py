"""A labelled set where training uses some of the classes."""

from dataclasses import replace

import torch

from ensembles.data.named import NamedSet


def relabelled(found: NamedSet, classes: list[int], total: int) -> NamedSet:
    """What remains of a labelled set where training uses some of the classes, numbered anew.

    An image stays if a class in use is right for it; a group of frames stays if all of them do.

    Args:
        classes: the classes in use, in their new order.
        total: how many there are.
    """
    new = torch.full((total,), -1)
    new[classes] = torch.arange(len(classes))
    alike = [[entry] if isinstance(entry, int) else entry for entry in found.covers or range(total)]
    kept = [[new[number].item() for number in group if new[number] >= 0] for group in alike]
    if found.accepted is None:
        counts_as = torch.full((total,), -1)
        for group, rest in zip(alike, kept, strict=True):
            counts_as[group] = rest[0] if rest else -1
        labels, accepted = counts_as[found.labels], None
        stay = labels >= 0
    else:
        accepted = found.accepted[:, classes]
        labels, stay = accepted.int().argmax(1), accepted.any(1)
    positions = stay.nonzero().squeeze(1)
    covers = [rest if len(rest) > 1 else rest[0] for rest in kept if rest]
    images = found.images
    return replace(
        found,
        images=[images[i] for i in positions.tolist()] if isinstance(images, list) else images[positions],
        labels=labels[stay],
        covers=None if len(covers) == len(classes) else covers,
        accepted=None if accepted is None else accepted[stay],
        groups=None if found.groups is None else _regrouped(found.groups, positions.tolist()),
    )


def _regrouped(groups: list[list[int]], positions: list[int]) -> list[list[int]]:
    place = {old: new for new, old in enumerate(positions)}
    return [[place[frame] for frame in group] for group in groups if all(frame in place for frame in group)]
