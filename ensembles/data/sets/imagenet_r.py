"""ImageNet-R, 30,000 renditions (art, toys, tattoos, ...) of 200 classes (Hendrycks et al., 2021)."""

from collections.abc import Sequence

from ensembles.data.class_folders import labelled
from ensembles.data.files.archive import Archive, provide
from ensembles.data.named import NamedSet, Place
from ensembles.data.synsets import require_synsets

ARCHIVE = Archive(
    "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
    "md5:a61312130a589d0ca1a8fca1f2bd3337",
    ("imagenet-r",),
)


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    provide(ARCHIVE, place)
    folder = place.root / "imagenet-r"
    require_synsets(folder, "imagenet_r")
    return labelled(folder, "imagenet_r", classes)
