"""The classes of ImageNet by their WordNet ids, from the lists that timm ships. Torch is not imported, nor timm."""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ensembles.data.files.listing import subfolders
from ensembles.errors import UserError

FOLDER = "data/_info"


@cache
def synsets(name: str = "imagenet") -> tuple[str, ...]:
    """The ids in the order of the classes' numbers; ``imagenet_a`` and ``imagenet_r`` name subsets."""
    return tuple(_file(f"{name}_synsets.txt").read_text().split())


@cache
def lemmas() -> dict[str, str]:
    """What each id means, in a word or two."""
    lines = _file("imagenet_synset_to_lemma.txt").read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines)


def require_synsets(folder: Path, name: str = "imagenet", among: Iterable[str] | None = None) -> None:
    """Check that a folder has a class folder for each id of a list, and no other.

    Args:
        among: the ids of the list that must be there; None for all.

    Raises:
        UserError: no such folder, or a class folder that is missing or not on the list.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: it must hold a class folder for each WordNet id of {name}.")
    present = {path.name for path in subfolders(folder)}
    listed = synsets(name)
    missing = [synset for synset in (listed if among is None else among) if synset not in present]
    strange = sorted(present.difference(listed))
    if missing or strange:
        what = f"lacks the class folder {missing[0]}" if missing else f"has the class folder {strange[0]}, of no class"
        raise UserError(f"{folder} {what}: it must hold the {len(listed)} of {name}, and has {len(present)}.")


def _file(name: str) -> Path:
    (home,) = find_spec("timm").submodule_search_locations
    return Path(home) / FOLDER / name
