"""ImageNet-O, 2,000 images of classes that ImageNet-1k lacks (Hendrycks et al., 2021): out-of-distribution."""

from collections.abc import Sequence

from ensembles.data.class_folders import unlabelled
from ensembles.data.files.archive import Archive, provide
from ensembles.data.named import NamedSet, Place

ARCHIVE = Archive(
    "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
    "md5:86bd7a50c1c4074fb18fc5f219d6d50b",
    ("imagenet-o",),
)


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    provide(ARCHIVE, place)
    return unlabelled(place.root / "imagenet-o", "imagenet_o")
