"""Sets besides a data set's own: each is found by the name of its file in ``ensembles/data/sets/``."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from torch import Tensor

from ensembles.errors import UserError

HOME = Path(__file__).parent / "sets"


@dataclass(frozen=True)
class Place:
    """Where a set is looked for.

    Attributes:
        root: the folder that holds it.
        download: whether it may be downloaded into the folder if it is not there.
        without: how the user can do without it, as the end of a sentence.
    """

    root: Path
    download: bool
    without: str


@dataclass(frozen=True)
class NamedSet:
    """A set to evaluate on.

    Attributes:
        images: uint8 (N, C, H, W), or the paths of N image files.
        labels: (N,) among the classes asked for; None where it has none.
        covers: the classes that it has, where not all; several that count as one in it stand in a list of their own.
        accepted: (N, K), the classes that are right for each image, where they are more than its label's own.
        groups: for frames of videos, the positions of each frame in question and of those like it, in this order.
        border: pixels on each side of an image that are no part of it.
    """

    images: Tensor | list[str]
    labels: Tensor | None = None
    covers: list[int | list[int]] | None = None
    accepted: Tensor | None = None
    groups: list[list[int]] | None = None
    border: int = 0


def load(name: str, root: Path, download: bool, classes: Sequence[str], key: str) -> NamedSet:
    """The official set of a name.

    A set is a file of its name in ``sets/`` with a function ``load(place, classes) -> NamedSet``.

    Args:
        root, download: see `Place`.
        classes: names of the training classes, which its labels are to be among.
        key: the setting that asks for it.

    Raises:
        UserError: no such set, or files that are missing or damaged.
    """
    if name not in names():
        near = get_close_matches(str(name), names(), cutoff=0.5) or names()
        own = key.removesuffix("_sets")
        raise UserError(
            f"{key} has {name!r}, but the official sets are {', '.join(near)}; a folder is {own}={{name: path}}."
        )
    place = Place(root, download, f"leave {name} out of {key}")
    return import_module(f"ensembles.data.sets.{name}").load(place, classes)


def names() -> list[str]:
    """The official sets that there are."""
    return sorted(path.stem for path in HOME.glob("[a-z]*.py"))
