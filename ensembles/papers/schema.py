"""What a table's or figure's YAML may say, and the one sentence for what it may not."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from ensembles.errors import UserError
from ensembles.reports.schema import CRITERIA

Criterion = Literal[tuple(CRITERIA)]
EXPECTED = {"seeds": "an integer of at least 1", "scale": "a number above 0", "times": "a number"}


class Strict(BaseModel):
    """A mapping of the file, with the keys that it must and can have."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_its_keys(cls, value: object) -> object:
        required = [key for key, of in cls.model_fields.items() if of.is_required()]
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} must be a mapping with {', '.join(required)}")
        for key in required:
            if key not in value:
                raise ValueError(f"{key} is missing")
        require_known(value, list(cls.model_fields))
        return value


def require_known(value: Mapping, known: Sequence[str]) -> None:
    """Reject a mapping that has other keys than the known ones.

    Raises:
        ValueError: names the key, and those that are like it.
    """
    for key in value:
        if key not in known:
            raise ValueError(f"there is no {key}; known are {', '.join(get_close_matches(key, known) or known)}")


class Column(Strict):
    """A column of numbers.

    Attributes:
        key: of results.json; ``{criterion}`` in it stands for the row's criterion. None where nothing measures it.
        head: as the paper prints it.
        scale: times the result gives the printed number.
        unit: that the paper prints behind the number.
        better: None where neither is.
        apart: how the paper's numbers differ in kind from the measured ones, so that their difference says nothing.
        over: the row whose result the column's results are divided by.
        take: of a result that is a list, one number a member: their ``count``, ``mean`` or the ``best`` of them.
    """

    key: str | None
    head: str
    scale: Annotated[float, Field(gt=0)] = 1.0
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    apart: str | None = None
    over: str | None = None
    take: Literal["count", "mean", "best"] | None = None

    @model_validator(mode="after")
    def _has_a_best(self) -> "Column":
        if self.take == "best" and self.better is None:
            raise ValueError("take is best: say which is better, higher or lower")
        return self


class OwnCount(Strict):
    """A cell in which the paper counts its own way.

    Attributes:
        times: times the measured number gives what the paper counts.
        how: what it counts.
    """

    times: float
    how: str


def _nonblank(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{info.field_name} is {value!r}, but must be text")
    return value


def as_overrides(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"overrides is {value!r}, but must map keys to values")
    found = {}
    for key, setting in value.items():
        if isinstance(setting, list) and all(isinstance(entry, str) for entry in setting):
            setting = f"[{','.join(setting)}]"
        if not isinstance(setting, str):
            raise ValueError(f"the override {key} is {setting!r}, but must be one value or a list of them")
        found[key] = setting
    return found


Text = Annotated[str, BeforeValidator(_nonblank)]
Overrides = Annotated[dict[str, str], BeforeValidator(as_overrides)]


class RowEntry(Strict):
    """A row of the file, or one for each combination of what its table sweeps."""

    overrides: Overrides
    name: str | None = None
    paper: Any = ()
    criterion: Criterion | None = None
    counts: dict[str, OwnCount] = {}
    note: str | None = None
    precedence: str | None = None


class Block(Strict):
    """Rows that have names and overrides in common."""

    rows: list
    names: dict[str, str] = {}
    overrides: Overrides = {}


class _File(Strict):
    title: Text
    paper: Text
    cites: Text
    names: list[str] = []
    rows: list = []
    note: str | None = None
    seeds: Annotated[int, Field(ge=1)] = 3
    criterion: Criterion | None = None
    overrides: Overrides = {}


class TableFile(_File):
    names: Annotated[list[str], Field(min_length=1)]
    columns: Annotated[list[Column], Field(min_length=1)]
    rows: Annotated[list, Field(min_length=1)]


class _AtScale(Strict):
    """What a figure changes at a smaller scale."""

    drawing: dict = {}
    overrides: dict = {}
    says: str | None = None


class _Scales(Strict):
    small: _AtScale | None = None
    smoke: _AtScale | None = None


def _drawing(value: object) -> object:
    if not isinstance(value, dict) or "_target_" not in value:
        raise ValueError("_target_ is missing")
    return value


class FigureFile(_File):
    drawing: Annotated[dict, BeforeValidator(_drawing)]
    shows: Text
    sweep: Any = {}
    scales: _Scales = _Scales()


@contextmanager
def told_of(path: Path, within: str = "") -> Iterator[None]:
    """Tell in one sentence of the file, and of the place in it, what is wrong with a value."""
    try:
        yield
    except UserError:
        raise  # told already
    except ValidationError as error:
        first = error.errors()[0]
        *steps, last = first["loc"] or ("",)
        if first["loc"][:1] == ("columns",) and len(first["loc"]) > 1:
            within += f", column {first['loc'][1] + 1}"
        elif first["loc"][:1] in (("drawing",), ("scales",)):
            within += f", {', '.join(map(str, first['loc'] if first['type'] == 'value_error' else steps))}"
        raise UserError(f"{path}{within}: {_what_is_wrong(first, last)}.") from error
    except ValueError as error:
        raise UserError(f"{path}{within}: {error}.") from error


def _what_is_wrong(first: Mapping, name: object) -> str:
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] in ("list_type", "too_short"):
        return f"{name} must be a list with at least one entry"
    if first["type"] == "literal_error":
        options = first["ctx"]["expected"].replace("'", "")
        few = options.count(",") < 2
        return f"{name} is {first['input']!r}, but must be {options if few else f'one of {options}'}"
    expected = EXPECTED.get(name) or first["msg"][0].lower() + first["msg"][1:]
    return f"{name} is {first['input']!r}, but must be {expected}".replace("must be input should be", "must be")
