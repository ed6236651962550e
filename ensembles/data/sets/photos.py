"""Patches of 32x32 pixels of scikit-learn's two photographs, a temple and a flower: out-of-distribution for CIFAR."""

from collections.abc import Sequence

import torch
from sklearn.datasets import load_sample_images

from ensembles.data.named import NamedSet, Place

PATCH = 32


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    photographs = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images])
    patches = photographs.permute(0, 3, 1, 2).unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return NamedSet(patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, PATCH, PATCH))
