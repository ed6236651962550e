"""ImageNet-A, 7,500 natural images of 200 classes that a ResNet-50 gets wrong (Hendrycks et al., 2021)."""

from collections.abc import Sequence

from ensembles.data.class_folders import labelled
from ensembles.data.files.archive import Archive, provide
from ensembles.data.named import NamedSet, Place
from ensembles.data.synsets import require_synsets

ARCHIVE = Archive(
    "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
    "md5:c3e55429088dc681f30d81f4726b6595",
    ("imagenet-a",),
)


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    provide(ARCHIVE, place)
    folder = place.root / "imagenet-a"
    require_synsets(folder, "imagenet_a")
    return labelled(folder, "imagenet_a", classes)
