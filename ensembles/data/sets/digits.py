"""scikit-learn's handwritten digits, which come with the library: out-of-distribution for photographs."""

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits

from ensembles.data.named import NamedSet, Place


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    images = torch.from_numpy(load_digits().images) * (255 / 16)
    return NamedSet(images.round().to(torch.uint8).unsqueeze(1))
