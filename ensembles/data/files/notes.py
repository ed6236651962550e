"""JSON and text files that come with a set and say what its images are."""

import json
from pathlib import Path

from ensembles.errors import UserError, reason


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        UserError: a file that is missing or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): it comes with the set, put it back.") from error


def read_json(path: Path):
    """What a JSON file says.

    Raises:
        UserError: a file that is missing, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({reason(error)}): it comes with the set, put it back.") from error
