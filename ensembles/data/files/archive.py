"""Archives: where they come from, and unpacking them so that a folder is there whole or not at all."""

import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ensembles.data.files.checksum import matches
from ensembles.data.files.download import fetch
from ensembles.data.named import Place
from ensembles.errors import UserError, reason
from ensembles.lock import alone_in


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


def provide(archive: Archive, place: Place) -> None:
    """Have the archive's folders in place: as they are, from the archive beside them, or downloaded.

    Raises:
        UserError: a missing or damaged archive, or one that does not hold what it must.
    """
    missing = [name for name in archive.folders if not (place.root / name).is_dir()]
    if not missing:
        return
    instead = f"put that file, or the folder {missing[0]} unpacked from it, into {place.root}, or {place.without}"
    packed = official_file(archive.url, archive.checksum, place, instead)
    with unpacked(packed) as temporary:
        for name in missing:
            if not (temporary / name).is_dir():
                raise UserError(f"{packed} holds no folder {name}: delete it to have it downloaded again.")
            if not (place.root / name).is_dir():  # another process may have put it there meanwhile
                os.replace(temporary / name, place.root / name)


def official_file(url: str, checksum: str, place: Place, instead: str) -> Path:
    """A file as it is officially published, downloaded where it is not there.

    Args:
        checksum: "md5:..." or "sha256:...".
        instead: what the user can do without a download, as the end of a sentence.

    Raises:
        UserError: a file that is missing and not to be downloaded, or another than the official one.
    """
    path = place.root / url.rpartition("/")[2].partition("?")[0]
    if path.exists():
        if not matches(path, checksum):
            raise UserError(f"{path} is truncated or not the official file: delete it to have it downloaded again.")
    elif place.download:
        fetch(url, path, checksum, instead)
    else:
        raise UserError(f"There is no {path} and data.download is false: get it from {url}; {instead}.")
    return path


@contextmanager
def unpacked(packed: Path) -> Iterator[Path]:
    """A temporary folder beside a tar archive, with what is in it; the folder is removed at the end.

    Raises:
        UserError: an archive that is damaged or would write outside of its folder, or no room for it.
    """
    try:
        with _alone(packed) as temporary:
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


@contextmanager
def _alone(packed: Path) -> Iterator[str]:
    """A temporary folder beside an archive; those of processes that were killed are removed."""
    with alone_in(packed.parent) as certain:
        for left in packed.parent.glob(f".{packed.name}.unpacked-*") if certain else ():
            rmtree(left, ignore_errors=True)
        with TemporaryDirectory(dir=packed.parent, prefix=f".{packed.name}.unpacked-") as temporary:
            yield temporary
