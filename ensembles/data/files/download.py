"""Official files: downloaded so that an interruption loses nothing, checked, and unpacked whole or not at all.

What came of a download stays beside the final name, and the next attempt goes on from there. Torch is not imported.
"""

import hashlib
import http.client
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ensembles.data.files.progress import when_slow
from ensembles.errors import UserError, reason
from ensembles.files import alone_in, load_json, write_text

RECORD = "checksums.json"


def has_checksum(path: Path, checksum: str) -> bool:
    """Tell whether there is such a file with this checksum, "md5:..." or "sha256:..."."""
    algorithm, _, wanted = checksum.partition(":")
    return path.is_file() and _digest(path, algorithm) == wanted


def record_checksums(folder: Path, names: list[str]) -> None:
    """Note in the folder which contents these of its files have, for `check_recorded`."""
    known = _recorded(folder) | {
        name: {**_stamp(folder / name), "md5": _digest(folder / name, "md5")} for name in names
    }
    write_text(folder / RECORD, json.dumps(known, indent=1) + "\n")


def recorded_files(folder: Path) -> set[str]:
    """List the files in the folder whose contents are on record."""
    return set(_recorded(folder))


def check_recorded(folder: Path, names: list[str]) -> None:
    """Check those of the files that are on record; one that has not changed since it was last read is not read again.

    Raises:
        UserError: a file that is missing or has other contents than those on record.
    """
    known = _recorded(folder)
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
            record_checksums(folder, changed)


def _recorded(folder: Path) -> dict[str, dict]:
    try:
        known = load_json(folder / RECORD)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RECORD} cannot be read ({error}): delete it.") from error
    if not isinstance(known, dict) or not all(isinstance(entry, dict) for entry in known.values()):
        raise UserError(f"{folder / RECORD} is no record of checksums: delete it.")
    return known


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "changed": stat.st_mtime_ns}


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


PATIENCE = 30.0  # seconds without an answer after which an attempt is given up
ATTEMPTS = 3
CHUNK = 2**18
RANGE_NOT_SATISFIABLE = 416


def fetch(url: str, target: Path, checksum: str, instead: str) -> None:
    """Download a file, unless it is there; it gets its name when it is whole and has its checksum.

    Args:
        checksum: "md5:..." or "sha256:...".
        instead: what the user can do without a download, for the error's end.

    Raises:
        UserError: no network, a broken connection, another file than expected, or no room for it.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(target.parent):  # another process may be at it
            if target.exists():
                return
            begun = part.exists()
            if not (_arrives(part, url, checksum) or (begun and _arrives(part, url, checksum))):
                raise OSError("what came is not the official file")
            os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:
        if part.exists() and not part.stat().st_size:
            part.unlink()
        why = (str(error) or type(error).__name__).rstrip(".")
        raise UserError(f"There is no {target}, and {url} could not be downloaded ({why}): {instead}.") from error


def _arrives(part: Path, url: str, checksum: str) -> bool:
    """Fetch what is missing of a file, and tell whether it then is the official one; if not, it is removed."""
    with open(part, "ab") as file:
        _fill(file, url)
    right = has_checksum(part, checksum)
    if not right:
        part.unlink()
    return right


def _fill(file: BinaryIO, url: str) -> None:
    """Append what is missing; a server that breaks off is asked again as long as it gives something."""
    for attempt in range(ATTEMPTS):
        before = file.tell()
        try:
            _append(file, url)
            return
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS - 1 or isinstance(error, HTTPError) or file.tell() <= before:
                raise


def _append(file: BinaryIO, url: str) -> None:
    have = file.tell()
    asked = Request(url, headers={"User-Agent": "ensembles", **({"Range": f"bytes={have}-"} if have else {})})
    try:
        answer = urlopen(asked, timeout=PATIENCE)
    except HTTPError as error:
        if have and error.code == RANGE_NOT_SATISFIABLE:  # all of it is here already
            return
        raise
    with answer:
        if getattr(answer, "status", None) != http.client.PARTIAL_CONTENT:  # it begins from the start
            file.truncate(have := 0)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        name = url.rpartition("/")[2].partition("?")[0]
        for chunk in when_slow(_chunks(answer), total, f"Downloading {name}", done=have, in_bytes=True):
            file.write(chunk)
        file.flush()
        if total is not None and os.fstat(file.fileno()).st_size < total:
            raise ConnectionError(
                f"the connection broke off after {os.fstat(file.fileno()).st_size:,} of {total:,} bytes; "
                "the same command goes on from there"
            )


def _chunks(answer: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while chunk := answer.read(CHUNK):
        yield len(chunk), chunk


@dataclass(frozen=True)
class SetLocation:
    """Where an official set is looked for.

    Attributes:
        root: the folder that holds it.
        download: whether it may be downloaded into the folder if it is not there.
        without: how the user can do without it, as the end of a sentence.
    """

    root: Path
    download: bool
    without: str


class Archive(NamedTuple):
    """An official archive.

    Attributes:
        url: where it is.
        checksum: "md5:..." or "sha256:...".
        folders: what it holds at its top, and the project reads.
    """

    url: str
    checksum: str
    folders: tuple[str, ...]


def provide_folders(archive: Archive, location: SetLocation) -> None:
    """Have the archive's folders in place: as they are, from the archive beside them, or downloaded.

    Raises:
        UserError: a missing or damaged archive, or one that does not hold what it must.
    """
    missing = [name for name in archive.folders if not (location.root / name).is_dir()]
    if not missing:
        return
    instead = f"put that file, or the folder {missing[0]} unpacked from it, into {location.root}, or {location.without}"
    packed = official_file(archive.url, archive.checksum, location, instead)
    with unpacked(packed) as temporary:
        for name in missing:
            if not (temporary / name).is_dir():
                raise UserError(f"{packed} holds no folder {name}: delete it to have it downloaded again.")
            if not (location.root / name).is_dir():  # another process may have put it there meanwhile
                os.replace(temporary / name, location.root / name)


def official_file(url: str, checksum: str, location: SetLocation, instead: str) -> Path:
    """Return a file as it is officially published, downloaded where it is not there.

    Args:
        checksum: "md5:..." or "sha256:...".
        instead: what the user can do without a download, as the end of a sentence.

    Raises:
        UserError: a file that is missing and not to be downloaded, or another than the official one.
    """
    path = location.root / url.rpartition("/")[2].partition("?")[0]
    if path.exists():
        if not has_checksum(path, checksum):
            raise UserError(f"{path} is truncated or not the official file: delete it to have it downloaded again.")
    elif location.download:
        fetch(url, path, checksum, instead)
    else:
        raise UserError(f"There is no {path} and data.download is false: get it from {url}; {instead}.")
    return path


@contextmanager
def unpacked(packed: Path) -> Iterator[Path]:
    """Unpack a tar archive into a temporary folder beside it, which is removed at the end, as are those of killed ones.

    Raises:
        UserError: an archive that is damaged or would write outside of its folder, or no room for it.
    """
    try:
        beside = f".{packed.name}.unpacked-"
        with alone_in(packed.parent) as certain:
            for left in packed.parent.glob(f"{beside}*") if certain else ():
                rmtree(left, ignore_errors=True)
            with TemporaryDirectory(dir=packed.parent, prefix=beside) as temporary:
                with tarfile.open(packed) as tar:
                    tar.extractall(temporary, filter="data")
                yield Path(temporary)
    except tarfile.FilterError as error:
        raise UserError(
            f"{packed} was not unpacked, since {reason(error)}, which no official archive does: delete it."
        ) from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{packed} is damaged ({reason(error)}): delete it to have it downloaded again.") from error
    except OSError as error:
        raise UserError(f"{packed} cannot be unpacked into {packed.parent} ({error.strerror or error}).") from error
