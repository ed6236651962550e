"""ImageNetV2, matched frequency: 10,000 images collected as ImageNet's were, ten years on (Recht et al., 2019)."""

from collections.abc import Sequence

from ensembles.data.class_folders import labelled
from ensembles.data.files.archive import Archive, provide
from ensembles.data.named import NamedSet, Place
from ensembles.data.synsets import synsets
from ensembles.errors import UserError

FOLDER = "imagenetv2-matched-frequency-format-val"
ARCHIVE = Archive(
    "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
    "sha256:f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
    (FOLDER,),
)


def load(place: Place, classes: Sequence[str]) -> NamedSet:
    """Its class folders are numbers, 0 to 999, in the order of the sorted WordNet ids."""
    provide(ARCHIVE, place)
    return labelled(place.root / FOLDER, "imagenet_v2", classes, class_of=_synset)


def _synset(folder: str) -> str:
    if not folder.isdecimal() or int(folder) >= len(synsets()):
        raise UserError(f"imagenet_v2 has the class folder {folder}, but its folders are 0 to {len(synsets()) - 1}.")
    return synsets()[int(folder)]
