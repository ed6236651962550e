"""The form of what a file says of its network or predictions: plain data, checked whole before anything is built."""

import math
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ensembles.errors import UserError, reason
from ensembles.files import MOST_VALUES
from ensembles.limits import LIMITS

DEEPEST = 20  # containers in containers
LONGEST = 10_000  # characters of a string
LARGEST = 2**63
MOST_CLASSES = 1_000_000
MOST_CHANNELS = 100_000
MOST_PIXELS = 16_384  # along an image's side
EVALUATION = tuple(LIMITS["evaluation"])
STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class Unfit(ValueError):
    """A value of a file that is not what stands there in files of this program; the message says which and why."""


class Schema(BaseModel):
    """The form of plain data: exact types, finite numbers; what else stands there is passed over."""

    model_config = STRICT

    @classmethod
    def check(cls, value: object, where: str = "its description") -> None:
        """See that a value has the form.

        Raises:
            Unfit: it has not.
        """
        try:
            cls.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            key = ".".join(map(str, first["loc"]))[:100] or where
            if first["type"] == "missing":
                raise Unfit(f"{key} is missing") from None
            if first["type"] == "extra_forbidden":
                raise Unfit(f"{key} is no key of it") from None
            raise Unfit(re.sub("^(Input|Value error,)", key, first["msg"])) from None


class _Target(Schema):
    target: str = Field(alias="_target_")


class _View(Schema):
    crop_ratio: Annotated[float, Field(gt=0, le=1)]
    interpolation: Literal["bilinear", "bicubic"]


class _Network(Schema):
    method: _Target
    model: _Target
    likelihood: _Target = None
    view: _View = None
    num_classes: Annotated[int, Field(ge=1, le=MOST_CLASSES)]
    in_channels: Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
    image_size: Annotated[int, Field(ge=1, le=MOST_PIXELS)]
    mean: list[float]
    std: list[Annotated[float, Field(ge=0)]]
    class_names: Annotated[list[str], Field(max_length=MOST_CLASSES)]
    format: Annotated[int, Field(ge=1, le=1000)] = 1

    @model_validator(mode="after")
    def _one_for_each_channel(self) -> "_Network":
        if not {len(self.mean), len(self.std)} <= {1, self.in_channels}:
            raise ValueError("has not one mean and std for each channel")
        return self


class _Config(Schema):
    data: dict
    evaluation: dict[Literal[EVALUATION], bool | float | None]
    seed: int
    test_on: str
    ckpt_path: str | None = None


class PredictedSets(Schema):
    """What a file of predictions says of its sets, by their names."""

    classes: dict[str, list]
    groups: dict[str, list]


class _Predictions(PredictedSets):
    config: _Config
    class_names: list[str]


def require_network(about: object) -> None:
    """See that a checkpoint's description has this program's form.

    Raises:
        Unfit: it has not.
    """
    require_plain(about, "its description")
    _Network.check(about)


def require_predictions(about: object) -> None:
    """See that a file of predictions describes them in this program's form."""
    _Predictions.check(about)
    # these two can be large, and are checked with the sets they are of
    require_plain({key: value for key, value in about.items() if key not in ("classes", "groups")}, "its description")


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


def refusal(path: object, error: Exception, fix: str) -> UserError:
    """Make the sentence for a file that was refused."""
    return UserError(f"{path} cannot be read ({reason(error)}); {fix}.")
