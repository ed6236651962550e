"""CIFAR-100's test part: out-of-distribution for CIFAR-10."""

from collections.abc import Sequence

from ensembles.data.cifar import CIFAR100
from ensembles.data.named import NamedSet, Place


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    return CIFAR100.as_ood(place)
