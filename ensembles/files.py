"""Writing a file so that it is there whole or as it was before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ensembles.errors import UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, which takes its place at the end unless something went wrong.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    draft = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, by which writers choose a format
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"Cannot write {path} ({why}): free space or choose another folder.") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        UserError: as `replacing`.
    """
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
