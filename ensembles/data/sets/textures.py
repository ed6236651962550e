"""Describable Textures, 5,640 images (Cimpoi et al., 2014): out-of-distribution for ImageNet."""

from collections.abc import Sequence

from ensembles.data.class_folders import unlabelled
from ensembles.data.files.archive import Archive, provide
from ensembles.data.named import NamedSet, Place

ARCHIVE = Archive(
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    "md5:fff73e5086ae6bdbea199a49dfb8a4c1",
    ("dtd",),
)


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    provide(ARCHIVE, place)
    return unlabelled(place.root / "dtd" / "images", "textures")
