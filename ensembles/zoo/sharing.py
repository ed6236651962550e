"""Runs pushed to a place and pulled from one. What is pulled is not trusted: it is checked, and nothing of it runs."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from ensembles.checkpoints import ABOUT, read_checkpoint, write_safetensors
from ensembles.constructors import without_pretrained
from ensembles.errors import UserError
from ensembles.files import load_json, load_yaml, write_text
from ensembles.provenance import origin
from ensembles.renamed import by_present_names
from ensembles.reports.runs_table import gather
from ensembles.runs import WEIGHTS, network_file
from ensembles.untrusted import Unfit, refusal, require_plain
from ensembles.zoo.card import CARD, LARGEST_CARD, README, Card, Verified, require_same_results, without_files
from ensembles.zoo.places import chunks, deliver, opener, place_folder

CONFIG, RESULTS, PROVENANCE = "config.yaml", "results.json", "provenance.json"
NEEDED = (WEIGHTS, CONFIG, RESULTS, PROVENANCE)
FILES = (*NEEDED, README)  # nothing else is taken
SHARED_KEYS = ("data", "model", "method", "recipe", "evaluation", "seed", "test_on")  # of a run's config
MACHINE_SETTINGS = {  # of data's settings
    *("root", "cache_dir", "sets_root", "train", "val", "test", "ood", "shift"),
    *("num_workers", "download", "skip_broken", "in_memory"),
}
LARGEST_TEXT = 2**24  # bytes
ZOO = "zoo"


def push(
    run: str | Path, target: str | Path, by: str | None = None, at: str | None = None, note: str | None = None
) -> Card:
    """Bring a finished run to a place: weights, config, results, provenance and a card.

    Args:
        run: its folder.
        target: a folder, or hf://user/name.
        by: who measured it.
        at: where others will find it, such as the URL at which the folder is served; hf://... says so itself.
        note: what else there is to say.

    Returns:
        its `Card`.

    Raises:
        UserError: a run that is not finished or has no checkpoint, or a place that does not take it.
    """
    run, target = Path(run), str(target)
    if not ((run / RESULTS).is_file() and (run / PROVENANCE).is_file()):
        raise UserError(f"{run} is no finished run's folder: it has no {RESULTS} with a {PROVENANCE}.")
    (finished,), _ = gather([run])
    checkpoint = read_checkpoint(network_file(run))
    with TemporaryDirectory() as place:
        folder = Path(place) / "run"
        folder.mkdir()
        write_safetensors(folder / WEIGHTS, without_pretrained(checkpoint[ABOUT]), checkpoint["state_dict"])
        write_text(folder / CONFIG, yaml.safe_dump(shared_config(finished.settings), sort_keys=False))
        for name in (RESULTS, PROVENANCE):
            shutil.copy(run / name, folder / name)
        more = {"measured_by": by, "weights": at or (target if target.startswith("hf://") else None), "note": note}
        write_text(folder / README, Card.from_run(finished, **more).readme())
        files = {name: _contents(folder / name) for name in FILES}
        card = Card.from_run(finished, **more, files=files)
        write_text(folder / CARD, card.to_json())
        deliver(folder, target)
    return card


def shared_config(config: dict) -> dict:
    """Take from a config what was computed, but not where files are on the machine that did it."""
    found = without_files({key: config[key] for key in SHARED_KEYS if key in config})
    data = {key: value for key, value in found.get("data", {}).items() if key not in MACHINE_SETTINGS}
    if isinstance(data.get("corrupted"), dict):
        data["corrupted"] = {key: value for key, value in data["corrupted"].items() if key != "root"}
    return {**found, "data": data}


def pull(source: str | Path, to: str | Path | None = None) -> Path:
    """Bring a run from a place into a folder, which `ensembles.load` takes.

    Every file is the one of which the card has the hash, and is of the form that this program writes; nothing is run.

    Args:
        source: a folder, a URL of one, or hf://user/name.
        to: the folder to write; None: zoo/<the run's name>.

    Raises:
        UserError: what is not there, is another file than the card says, or has another form; or no room for it.
    """
    source = str(source)
    with fetched(source) as (folder, card):
        target = Path(to) if to is not None else Path(ZOO) / card.name
        place_folder(folder, target)
    return target


@contextmanager
def fetched(source: str) -> Iterator[tuple[Path, Card]]:
    """Yield a copy of a shared run's folder, checked as `pull` says, and its card.

    Raises:
        UserError: as `pull`.
    """
    open_file = opener(source)
    text = b"".join(chunks(open_file, source, CARD, LARGEST_CARD))
    card = Card.from_json(text, f"{source.rstrip('/')}/{CARD}")
    _require_files(card, source)
    with TemporaryDirectory() as place:
        folder = Path(place) / "run"
        folder.mkdir()
        if sum(contents.bytes for contents in card.files.values()) > shutil.disk_usage(place).free:
            raise UserError(f"{source} is larger than the free space in {place}: make room, or set TMPDIR.")
        (folder / CARD).write_bytes(text)
        for name, contents in card.files.items():
            digest, size = hashlib.sha256(), 0
            with open(folder / name, "wb") as file:
                for chunk in chunks(open_file, source, name, contents.bytes):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            if (size, digest.hexdigest()) != (contents.bytes, contents.sha256):
                raise UserError(f"{name} of {source} is not what {CARD} has the hash of: have it pushed again.")
        try:
            check_folder(folder, card)
        except UserError as error:
            raise UserError(str(error).replace(str(folder), source.rstrip("/"))) from error
        yield folder, card


def _require_files(card: Card, source: str) -> None:
    for name in card.files:
        if name not in FILES:
            raise UserError(f"{CARD} of {source} lists {name[:100]!r}, which is no file of a shared run: leave it out.")
    if lacking := [name for name in NEEDED if name not in card.files]:
        raise UserError(f"{CARD} of {source} lists no {lacking[0]}: it is of a run that was not pushed whole.")
    if large := [name for name, file in card.files.items() if name != WEIGHTS and file.bytes > LARGEST_TEXT]:
        raise UserError(f"{large[0]} of {source} is too large to be a run's: have it pushed again.")


def check_folder(folder: Path, card: Card) -> None:
    """See that the files of a shared run have the form that `push` writes.

    Raises:
        UserError: one has not.
    """
    fix = "have it pushed again"
    about = read_checkpoint(folder / WEIGHTS, fix)[ABOUT]
    if without_pretrained(about) != about or about["method"].get("checkpoints"):
        raise UserError(f"{folder / WEIGHTS} names files of another machine: {fix}.")
    for name, load in {CONFIG: load_yaml, RESULTS: load_json, PROVENANCE: load_json}.items():
        try:
            value = load(folder / name)
            require_plain(value, "it")
            if not isinstance(value, dict):
                raise Unfit("it holds no values by names")
            if name == CONFIG:
                _require_shared_config(value)
        except Exception as error:  # whatever a parser raises
            raise refusal(folder / name, error, fix) from error
        if name == RESULTS:
            require_same_results(card, value, folder / name)


def _require_shared_config(config: dict) -> None:
    config = by_present_names(config)
    data = config.get("data")
    if not isinstance(data, dict):
        raise Unfit("it has no data")
    if shared_config(config) != config:
        raise Unfit("it names places on another machine, or more than a shared run's config does")


def stamp(path: Path, by: str | None, tolerance: float, difference: float) -> None:
    """Write into a row's file that its results were found again.

    Raises:
        UserError: it cannot be written.
    """
    card = Card.load(path)
    here = {key: value for key, value in origin({}).items() if key in ("commit", "hardware")}
    seen = Verified(by=by, tolerance=tolerance, largest_difference=difference, **here)
    write_text(path, card.model_copy(update={"verified": seen}).to_json())


def _contents(path: Path) -> dict:
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
