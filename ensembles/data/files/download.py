"""Downloads that can be interrupted: what came stays beside the final name, and the next attempt goes on from there."""

import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ensembles.data.files.checksum import matches
from ensembles.data.files.progress import when_slow
from ensembles.errors import UserError
from ensembles.lock import alone_in

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
    """Whether the file is the one that it should be when all of it is there; if not, it is removed."""
    with open(part, "ab") as file:
        _fill(file, url)
    right = matches(part, checksum)
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
