"""Whether a file is the one that it should be. Torch is not imported."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from ensembles.errors import UserError
from ensembles.files import write_text

RECORD = "checksums.json"


def matches(path: Path, checksum: str) -> bool:
    """Whether there is such a file with this checksum, "md5:..." or "sha256:..."."""
    algorithm, _, wanted = checksum.partition(":")
    return path.is_file() and _digest(path, algorithm) == wanted


def record(folder: Path, names: list[str]) -> None:
    """Note in the folder which contents these of its files have, for `check`."""
    known = _read(folder) | {name: {**_stamp(folder / name), "md5": _digest(folder / name, "md5")} for name in names}
    write_text(folder / RECORD, json.dumps(known, indent=1) + "\n")


def recorded(folder: Path) -> set[str]:
    """The files in the folder whose contents are on record."""
    return set(_read(folder))


def check(folder: Path, names: list[str]) -> None:
    """Check those of the files that are on record; one that has not changed since it was last read is not read again.

    Raises:
        UserError: a file that is missing or has other contents than those on record.
    """
    known = _read(folder)
    changed = []
    for name in names:
        if name not in known:
            continue
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing, though {folder / RECORD} lists it: put it back or write it again.")
        if _stamp(path) != {key: known[name].get(key) for key in ("size", "changed")}:
            if _digest(path, "md5") != known[name].get("md5"):
                raise UserError(f"{path} is not the file that {folder / RECORD} lists: delete it and have it replaced.")
            changed.append(name)
    if changed:
        with suppress(UserError):  # a folder that cannot be written to is read again each time
            record(folder, changed)


def _read(folder: Path) -> dict[str, dict]:
    try:
        return json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RECORD} cannot be read ({error}): delete it.") from error


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "changed": stat.st_mtime_ns}


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
