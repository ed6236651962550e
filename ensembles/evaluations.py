"""A run's evaluations: the last is at the top of its folder, those before it are beside each other below.

A trained network can be evaluated in several ways: on other sets, with other settings. Their numbers are not merged, as
the same key can mean something else in each. Torch is not imported here.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ensembles.data.files.fingerprint import images_unchanged
from ensembles.files import load_json
from ensembles.reports.per_image import PER_IMAGE

RESULTS, PROVENANCE, PREDICTIONS = "results.json", "provenance.json", "predictions.npz"
LISTED = ("ood_sets", "shift_sets")  # of the data's settings, those that list sets,
NAMED = ("ood", "shift")  # those that name the user's own,
CORRUPTED = ("corrupt", "corruptions", "corrupted_size")  # and those of corrupted copies
KEPT = (RESULTS, PROVENANCE, PER_IMAGE, "config.yaml", "classes.csv", "confusion.csv")


def find(folder: Path, wanted: Mapping, places: Mapping[str, Path]) -> Path | None:
    """Find the folder of the results that the wanted evaluation would have; None while there are none.

    They can be of an evaluation on more sets, but not on images that have changed since.

    Args:
        folder: the run's.
        wanted: as `ensembles.runs.Run.evaluation` has it.
        places: the folders of the images, by what they are.
    """
    for place, about in _all(folder):
        if _includes(about.get("evaluation"), wanted) and images_unchanged(about.get("images"), places):
            return place
    return None


def images_of(folder: Path, wanted: Mapping) -> dict:
    """Find the hashes of the images that such an evaluation saw, whether or not they have changed since."""
    alike = (about for _, about in _all(folder) if _includes(about.get("evaluation"), wanted))
    return next(alike, {}).get("images", {})


def keep(folder: Path) -> None:
    """Keep what is at the top of a run's folder, as another evaluation is about to take its place.

    Raises:
        OSError: the folder cannot be written.
    """
    below = folder / "evaluations"
    for draft in below.glob(".*"):  # of a process that was killed
        shutil.rmtree(draft, ignore_errors=True)
    about = _provenance(folder)
    if about is None:
        return
    text = json.dumps([about.get("evaluation"), about.get("images")], sort_keys=True)
    place = below / hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    draft = place.with_name(f".{place.name}")
    draft.mkdir(parents=True)
    for path in [*(folder / name for name in KEPT), *folder.glob("*.png")]:
        with suppress(FileNotFoundError):
            shutil.copy2(path, draft)
    if _settings(about.get("evaluation")).get("save_predictions") and (folder / PREDICTIONS).exists():
        _link(folder / PREDICTIONS, draft / PREDICTIONS)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # a file system without hard links
        shutil.copy2(path, to)


def _all(folder: Path) -> Iterator[tuple[Path, dict]]:
    """Yield each evaluation's folder and its provenance, that at the top first."""
    for place in (folder, *sorted((folder / "evaluations").glob("[!.]*"))):
        about = _provenance(place)
        if about is not None:
            yield place, about


def _provenance(place: Path) -> dict | None:
    """Read the provenance of results; None where they are not there whole."""
    try:
        about = load_json(place / PROVENANCE)
        load_json(place / RESULTS)
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) else None


def _includes(there: Mapping | None, wanted: Mapping) -> bool:
    """Tell whether an evaluation has all test sets of the wanted one, made alike, and is the same otherwise."""
    if not there:
        return False
    ours, theirs = wanted["data"], there.get("data", {})
    for key in ours.keys() | theirs.keys():
        one, other = ours.get(key), theirs.get(key)
        if key in LISTED:
            served = set(one or ()) <= set(other or ())
        elif key in NAMED:
            served = all((other or {}).get(name) == place for name, place in (one or {}).items())
        elif key in CORRUPTED:
            served = not ours.get("corrupt") or one == other
        else:
            served = one == other
        if not served:
            return False
    saved = {**there, "evaluation": {**_settings(there), "save_predictions": False}}
    return any(all(one.get(key) == wanted[key] for key in wanted if key != "data") for one in (there, saved))


def _settings(evaluation: object) -> dict:
    settings = evaluation.get("evaluation") if isinstance(evaluation, Mapping) else None
    return dict(settings) if isinstance(settings, Mapping) else {}
