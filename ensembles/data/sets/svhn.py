"""SVHN's test part, 26,032 house numbers of 32x32 pixels (Netzer et al., 2011): out-of-distribution for CIFAR."""

from collections.abc import Sequence

import torch
from torchvision import datasets

from ensembles.data.files.archive import official_file
from ensembles.data.named import NamedSet, Place


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    url, _, md5 = datasets.SVHN.split_list["test"]
    official_file(url, f"md5:{md5}", place, f"put that file into {place.root}, or {place.without}")
    return NamedSet(torch.from_numpy(datasets.SVHN(place.root, split="test").data.copy()))
