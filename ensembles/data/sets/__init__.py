"""Sets to evaluate on besides a data set's own: official ones by name, and the user's own.

An official set is a function of its name in a module of this folder, marked by `official_set`: from where it is looked
for and the names of the training classes to the set.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from ensembles.data.class_folders import labelled_folder, unlabelled_folder
from ensembles.data.files.download import SetLocation
from ensembles.data.labelled_set import LabelledSet
from ensembles.errors import UserError

OfficialSet = Callable[[SetLocation, Sequence[str]], LabelledSet]
UserSets = Mapping[str, str | Callable[[Sequence[str]], LabelledSet]]

_OFFICIAL: dict[str, OfficialSet] = {}


def official_set(load: OfficialSet) -> OfficialSet:
    """Have a set found by its function's name."""
    _OFFICIAL[load.__name__] = load
    return load


def official_sets() -> dict[str, OfficialSet]:
    """Import all official sets, by name."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(_OFFICIAL.items()))


@dataclass(frozen=True)
class EvaluationSets:
    """Choose sets besides a data set's own.

    Attributes:
        ood_sets, shift_sets: names of official sets.
        ood, shift: the user's own by name: a folder of images, or a function ``load(classes) -> LabelledSet``.

    Raises:
        UserError: settings of another form.
    """

    ood_sets: Sequence[str] = ()
    shift_sets: Sequence[str] = ()
    ood: UserSets | None = None
    shift: UserSets | None = None

    def __post_init__(self) -> None:
        for key in ("ood_sets", "shift_sets"):
            if isinstance(getattr(self, key), str | Mapping) or not isinstance(getattr(self, key) or (), Sequence):
                raise UserError(f"data.{key} is {getattr(self, key)!r}, but must be a list of names such as [svhn].")
        for kind in ("ood", "shift"):
            own = getattr(self, kind)
            if not isinstance(own, Mapping | None):
                raise UserError(f"data.{kind} is {own!r}, but must be {{name: path}}.")
            for name, place in (own or {}).items():
                if not re.fullmatch(r"[\w.+-]+", str(name)) or not (isinstance(place, str | Path) or callable(place)):
                    raise UserError(f"data.{kind} has {name}: {place!r}, but must be {{name: path}}.")
            twice = set(own or {}).intersection(getattr(self, f"{kind}_sets") or ())
            if twice:
                raise UserError(f"data.{kind} and data.{kind}_sets both have {min(twice)}: give yours another name.")

    def open(self, classes: Sequence[str], root: Path, download: bool) -> dict[str, LabelledSet]:
        """Find all of them, ``ood/<name>`` and ``shift/<name>``; labels are among all classes of the data set.

        Args:
            classes: names of the data set's classes.
            root, download: of the official ones, see `SetLocation`.

        Raises:
            UserError: a set that there is not, that is missing or damaged, or that does not fit the classes.
        """
        found = {}
        for kind in ("ood", "shift"):
            for name in getattr(self, f"{kind}_sets") or ():
                found[f"{kind}/{name}"] = _load_official(name, root, download, classes, f"data.{kind}_sets")
            for name, place in (getattr(self, kind) or {}).items():
                found[f"{kind}/{name}"] = _load_own(place, classes, kind, name)
        for name, labelled in found.items():
            if name.startswith("ood/"):
                found[name] = labelled.without_labels()
            elif not labelled.has_labels:
                raise UserError(f"{name} has no labels among the training classes: it can be in data.ood_sets only.")
        return found


def _load_official(name: str, root: Path, download: bool, classes: Sequence[str], key: str) -> LabelledSet:
    known = official_sets()
    if name not in known:
        near = get_close_matches(str(name), known, cutoff=0.5) or known
        own = key.removesuffix("_sets")
        raise UserError(
            f"{key} has {name!r}, but the official sets are {', '.join(near)}; a folder is {own}={{name: path}}."
        )
    return known[name](SetLocation(root, download, f"leave {name} out of {key}"), classes)


def _load_own(place: str | Callable, classes: Sequence[str], kind: str, name: str) -> LabelledSet:
    if callable(place):
        return place(classes)
    folder, key = Path(place).expanduser(), f"data.{kind}.{name}"
    return unlabelled_folder(folder, key) if kind == "ood" else labelled_folder(folder, key, classes)
