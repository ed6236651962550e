"""Plain data out of a file: what it can be made of, and whether it has the form that is expected."""

import math
from collections.abc import Mapping

DEEPEST = 20  # containers in containers
MOST_VALUES = 1_000_000
LONGEST = 10_000  # characters of a string
LARGEST = 2**63


class Unfit(ValueError):
    """A value of a file that is not what stands there in files of this program; the message says which and why."""


def require_plain(value: object, where: str) -> None:
    """See that a value consists of numbers, strings, booleans, None, lists and dicts by strings alone.

    A string in which OmegaConf would see an interpolation is refused, as are containers that hold themselves.

    Raises:
        Unfit: what is something else.
    """
    left = [(value, where, 0)]
    seen = 0
    while left:
        value, where, depth = left.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST_VALUES:
            raise Unfit(f"{where} holds too much")
        if type(value) is dict:
            for key, child in value.items():
                if type(key) is not str:
                    raise Unfit(f"{where} has a key that is no string")
                _require_text(key, where)
                left.append((child, f"{where}.{key}", depth + 1))
        elif type(value) is list:
            left += [(child, where, depth + 1) for child in value]
        elif type(value) is str:
            _require_text(value, where)
        elif type(value) is int:
            if abs(value) >= LARGEST:
                raise Unfit(f"{where} is too large a number")
        elif type(value) is float:
            if not math.isfinite(value):
                raise Unfit(f"{where} is {value}, but must be finite")
        elif value is not None and type(value) is not bool:
            raise Unfit(f"{where} holds a {type(value).__name__}, not a number, string, list or dict")


def _require_text(text: str, where: str) -> None:
    if len(text) > LONGEST:
        raise Unfit(f"{where} holds too long a string")
    if "${" in text:
        raise Unfit(f"{where} holds an interpolation, ${{...}}")
    if not text.isprintable() and any((ord(c) < 32 and c not in "\t\n") or c == "\x7f" for c in text):
        raise Unfit(f"{where} holds control characters")


def integer(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def texts(value: object) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def numbers(value: object) -> bool:
    return type(value) is list and all(map(number, value))


def entry(holder: object, key: str, kind: type, where: str):
    """What a dict has under a key.

    Raises:
        Unfit: there is none, or it is of another type than ``kind``.
    """
    if not isinstance(holder, Mapping) or key not in holder:
        raise Unfit(f"{where}{key} is missing")
    if type(holder[key]) is not kind:
        raise Unfit(f"{where}{key} is a {type(holder[key]).__name__}, but must be a {kind.__name__}")
    return holder[key]
