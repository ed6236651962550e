"""Where in a table's file something is, and what must be there."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path

from ensembles.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where in a file something is, for what is said about it."""

    file: Path
    within: str = ""

    def wrong(self, what: str) -> UserError:
        return UserError(f"{self.file}{self.within}: {what}.")

    def inside(self, within: str) -> "Place":
        return Place(self.file, f", {within}")

    def mapping(self, value: object, required: Sequence[str], optional: Sequence[str] = ()) -> dict:
        """The value, if it is a mapping with the required keys and no others than these and the optional ones."""
        if not isinstance(value, dict):
            raise self.wrong(f"{value!r} must be a mapping with {', '.join(required)}")
        for key in required:
            if key not in value:
                raise self.wrong(f"{key} is missing")
        for key in value.keys() - {*required, *optional}:
            near = get_close_matches(key, [*required, *optional]) or [*required, *optional]
            raise self.wrong(f"there is no {key}; known are {', '.join(near)}")
        return value

    def number(self, text: object, what: str) -> Decimal | None:
        if text == "null":
            return None
        try:
            number = Decimal(text) if isinstance(text, str) else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise self.wrong(f"{what} is {text!r}, but must be a number or null")
        return number

    def text(self, value: object, what: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{what} is {value!r}, but must be text")
        return value

    def overrides(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.wrong(f"overrides is {value!r}, but must map keys to values")
        found = {}
        for key, setting in value.items():
            if isinstance(setting, list) and all(isinstance(entry, str) for entry in setting):
                setting = f"[{','.join(setting)}]"
            if not isinstance(setting, str):
                raise self.wrong(f"the override {key} is {setting!r}, but must be one value or a list of them")
            found[key] = setting
        return found
