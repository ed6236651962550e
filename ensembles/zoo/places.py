"""Where runs are shared: folders, web servers, the Hugging Face hub. What comes from there is only bytes here."""

import http.client
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from urllib.request import urlopen

from ensembles.errors import UserError, reason
from ensembles.zoo.card import CARD

PATIENCE = 30.0  # seconds without an answer
CHUNK = 2**20
HUB = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*?)(?:@(\w[\w./-]*))?/?")

Opener = Callable[[str], BinaryIO]  # from a file's name to its contents


def opener(source: str) -> Opener:
    """Make what opens the files of a place.

    Raises:
        UserError: a place of no known kind.
    """
    if re.match("https?://", source):
        return lambda name: urlopen(f"{source.rstrip('/')}/{quote(name)}", timeout=PATIENCE)
    if source.startswith("hf://"):
        repository, revision = _repository(source)
        hub = _hub()
        return lambda name: open(hub.hf_hub_download(repository, name, revision=revision), "rb")
    if "://" in source:
        raise UserError(f"{source} is no place that runs are pulled from: name a folder, a URL or hf://user/name.")
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {source}: name one that ensembles push has written, a URL or hf://user/name."
        )
    return lambda name: _open_inside(folder, name)


def _open_inside(folder: Path, name: str) -> BinaryIO:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise OSError("it is no file of this folder")
    return open(path, "rb")


def chunks(open_file: Opener, source: str, name: str, most: int) -> Iterator[bytes]:
    """Read the contents of a file, as they come.

    Args:
        most: bytes that it may have.

    Raises:
        UserError: it is not there, does not come whole, or is larger than that.
    """
    try:
        with open_file(name) as file:
            while chunk := file.read(min(CHUNK, most + 1)):
                most -= len(chunk)
                if most < 0:
                    raise UserError(f"{name} of {source} is larger than its card says: have it pushed again.")
                yield chunk
    except UserError:
        raise
    except Exception as error:  # of the file system, the network, or the hub's library
        if not isinstance(error, OSError | http.client.HTTPException | ValueError) and not _is_the_hubs(error):
            raise
        raise UserError(
            f"{name} of {source} cannot be had ({reason(error)}): see that ensembles push has written there."
        ) from error


def _is_the_hubs(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("huggingface_hub", "httpx", "requests")


def deliver(folder: Path, target: str) -> None:
    """Bring a folder's files to a place, whole or not at all.

    Raises:
        UserError: a place that takes none, or that has something else.
    """
    if re.match("https?://", target):
        raise UserError(
            f"{target} is a web server, which takes no files: push to the folder that it serves, or to hf://user/name."
        )
    if target.startswith("hf://"):
        repository, revision = _repository(target)
        hub = _hub()
        try:
            hub.create_repo(repository, exist_ok=True)
            hub.upload_folder(repo_id=repository, folder_path=str(folder), revision=revision)
        except Exception as error:
            if not isinstance(error, OSError | ValueError) and not _is_the_hubs(error):
                raise
            raise UserError(f"{target} takes nothing ({reason(error)}): log in by hf auth login.") from error
        return
    if "://" in target:
        raise UserError(f"{target} is no place that runs are pushed to: name a folder or hf://user/name.")
    place_folder(folder, Path(target))


def place_folder(folder: Path, target: Path) -> None:
    """Move a folder to its place, instead of one that was put there in the same way.

    Raises:
        UserError: something else is there, or the place cannot be written.
    """
    if target.exists() and not ((target / CARD).is_file() or (target.is_dir() and not any(target.iterdir()))):
        raise UserError(f"{target} holds something else than a run that was shared: name another folder.")
    draft = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, draft)
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror or error}): name another folder.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _repository(place: str) -> tuple[str, str | None]:
    found = HUB.fullmatch(place)
    if not found:
        raise UserError(f"{place} is no repository of the hub: write hf://user/name or hf://user/name@revision.")
    return found[1], found[2]


def _hub():
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UserError("hf:// needs the package huggingface_hub: pip install huggingface_hub.") from error
    return HfApi()
