"""Reading what a file says of its network or predictions without trusting it.

A description is plain data of a known form, checked whole before anything is built from it. Hydra builds what the
command line names; what a file names is built here, by nothing but a look-up among constructors of this package, and of
packages that the caller trusts, and a call.
"""

import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import prod
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ensembles.errors import UserError, reason
from ensembles.limits import require_settings

DEEPEST = 20  # containers in containers
MOST_VALUES = 1_000_000
LONGEST = 10_000  # characters of a string
LARGEST = 2**63
MOST_CLASSES = 1_000_000
MOST_CHANNELS = 100_000
MOST_PIXELS = 16_384  # along an image's side
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
            raise Unfit(re.sub("^(Input|Value error,)", key, first["msg"])) from None


class _Target(Schema):
    target: str = Field(alias="_target_")


class _Network(Schema):
    method: _Target
    model: _Target
    likelihood: _Target = None
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
    evaluation: dict[Literal["temperature_scaling", "restrict_classes", "save_predictions"], bool]
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
    """The same for what a file of predictions says of them."""
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


KINDS = ("methods", "backbones", "likelihoods")
OF_HYDRA = ("_target_", "_partial_", "_convert_", "_recursive_")
GIVEN = {"methods": ("backbone", "input_shape"), "backbones": ("num_classes", "in_channels", "image_size")}
MOST = {"M": 512, "samples": 4096, "depth": 1204, "max_params": LARGEST}
MOST_OTHERWISE = 1_000_000  # of an integer setting
# Arguments of timm's and torchvision's that say where numbers come from or what is made of the network, not its form.
NOT_FORM = re.compile(
    r"pretrained(?!_window_sizes?$).*|(?!init_).*weights|.*(checkpoint|cache|url|hub|hf_|source|script|export|jit)\w*|"
    r"custom_load|model_cfg|model_args|model_name|name|feature_cfg|feature_cls|features_only|out_indices|kwargs_filter|"
    r"file|path|device|dtype|progress"
)
WORD = re.compile(r"[\w.+-]{0,100}")


def find_constructor(target: object, kind: str, trust: Sequence[str]) -> Callable:
    """The constructor that a file names.

    Args:
        kind: one of `KINDS`, whose constructors are this package's for that place.
        trust: packages besides this one.

    Raises:
        Unfit: a name of something else; the message says how one's own package is trusted.
    """
    if type(target) is not str or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        raise Unfit(f"a {kind[:-1]}'s _target_ is no dotted name")
    if target.partition(".")[0] in trust:
        return _trusted(target, trust)
    room, _, name = target.rpartition(".")
    found = _own(kind).get(name) if room == f"ensembles.{kind}" else None
    if found is None:
        raise Unfit(
            f"it wants {target} to be called, which is not part of ensembles as one of its {kind}: "
            f"if that is your own code, allow it by load(..., trust=[{target.partition('.')[0]!r}]), "
            f"or --trust {target.partition('.')[0]} of a script"
        )
    return found


def is_own(target: str) -> bool:
    """Whether a name that `find_constructor` has found is this package's."""
    return any(target.startswith(f"ensembles.{kind}.") for kind in KINDS)


def _own(kind: str) -> dict[str, Callable]:
    module = importlib.import_module(f"ensembles.{kind}")
    listed = {name: getattr(module, name) for name in module.__all__}
    base = {"methods": "Method", "likelihoods": "Likelihood"}.get(kind)
    return {name: value for name, value in listed.items() if name != base}


def _trusted(target: str, trust: Sequence[str]) -> Callable:
    """What the name stands for, where a trusted package defines it itself and has not just imported it."""
    parts = target.split(".")
    found: Any = importlib.import_module(parts[0])
    place = parts[0]
    for part in parts[1:]:
        place = f"{place}.{part}"
        if not hasattr(found, part) and inspect.ismodule(found):
            try:
                importlib.import_module(place)
            except ModuleNotFoundError as error:
                raise Unfit(f"there is no {target}") from error
        if not hasattr(found, part):
            raise Unfit(f"there is no {target}")
        found = getattr(found, part)
        home = found.__name__ if inspect.ismodule(found) else getattr(found, "__module__", None)
        if str(home).partition(".")[0] not in trust:
            raise Unfit(f"it wants {target} to be called, which is defined in {home}, not in a trusted package")
    if not callable(found):
        raise Unfit(f"{target} cannot be called")
    return found


def require_constructor(node: object, kind: str, trust: Sequence[str]) -> None:
    """See that what plain data want to be called is this package's or trusted, and takes their settings.

    Raises:
        Unfit: something else is to be called, or with settings that are none.
    """
    given = GIVEN.get(kind, ())
    target = node.get("_target_") if isinstance(node, dict) else None
    constructor = find_constructor(target, kind, trust)
    if not is_own(target) or target.partition(".")[0] in trust:
        for value in _settings(node).values():
            _check_nested(value, kind, trust)
        return
    if unknown := [key for key in node if key.startswith("_") and key not in ("_target_", "_convert_")]:
        raise Unfit(f"{target} has {unknown[0]}")
    parameters = inspect.signature(constructor).parameters
    for key, value in _settings(node).items():
        if key not in parameters or key in given:
            raise Unfit(f"{target} has no setting {key}")
        if not _suits(value, parameters[key].annotation):
            raise Unfit(f"{key} of {target} is {_shown(value)}")
        if type(value) is int and value > MOST.get(key, MOST_OTHERWISE):
            raise Unfit(f"{key} of {target} is {value}, which is too large")
        if key == "kwargs":
            _check_arguments(value or {}, target)
        elif key == "checkpoints" and value:
            raise Unfit(f"{target} names other files")
    lacking = [p.name for p in parameters.values() if p.default is p.empty and p.name not in (*given, *node)]
    if lacking:
        raise Unfit(f"{target} lacks its setting {lacking[0]}")
    require_settings(kind[:-1].replace("backbone", "model"), node)


def _settings(node: Mapping) -> dict:
    return {key: value for key, value in node.items() if key not in OF_HYDRA}


def _check_nested(value: object, kind: str, trust: Sequence[str]) -> None:
    """Nested things to be built occur in trusted packages' settings alone, and are theirs."""
    if isinstance(value, list):
        for child in value:
            _check_nested(child, kind, trust)
    elif isinstance(value, dict):
        if "_target_" in value:
            find_constructor(value["_target_"], kind, trust)
        elif any(key.startswith("_") and key.endswith("_") for key in value):
            raise Unfit("its settings have a key of Hydra's without a _target_")
        for child in _settings(value).values():
            _check_nested(child, kind, trust)


def _suits(value: object, annotation: object) -> bool:
    try:
        TypeAdapter(annotation, config=STRICT).validate_python(value)
    except ValidationError:
        return False
    return True


def _check_arguments(kwargs: dict, target: str) -> None:
    """See that arguments for timm's or torchvision's constructor are about the network's form and nothing else."""
    for key, value in kwargs.items():
        if not key.isidentifier() or key.startswith("_") or NOT_FORM.fullmatch(key):
            raise Unfit(f"model.kwargs of {target} has {key[:100]}, which is not about the network's form")
        _check_argument(key, value, target)


def _check_argument(key: str, value: object, target: str) -> None:
    if isinstance(value, dict):
        _check_arguments(value, target)
    elif isinstance(value, list):
        for item in value:
            _check_argument(key, item, target)
    elif isinstance(value, str) and not WORD.fullmatch(value):
        raise Unfit(f"model.kwargs.{key} of {target} is {_shown(value)}, which is no word")
    elif type(value) in (int, float) and abs(value) > MOST_OTHERWISE:
        raise Unfit(f"model.kwargs.{key} of {target} is {value}, which is too large")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def require_constructors(about: dict, trust: Sequence[str]) -> None:
    """Apply `require_constructor` to all that a checkpoint's description names."""
    for part, kind in (("method", "methods"), ("model", "backbones"), ("likelihood", "likelihoods")):
        if part in about:
            require_constructor(about[part], kind, trust)


def construct(node: dict, kind: str, trust: Sequence[str], **arguments):
    """Build what checked settings describe."""
    nested = node.get("_recursive_", True)
    settings = {key: _built(value, kind, trust) if nested else value for key, value in _settings(node).items()}
    return find_constructor(node["_target_"], kind, trust)(**settings, **arguments)


def _built(value: object, kind: str, trust: Sequence[str]):
    if isinstance(value, list):
        return [_built(child, kind, trust) for child in value]
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {key: _built(child, kind, trust) for key, child in value.items()}
    if value.get("_partial_"):
        return partial(construct, {k: v for k, v in value.items() if k != "_partial_"}, kind, trust)
    return construct(value, kind, trust)


FREE = 2**27  # numbers, half a gigabyte
TIMES = 256  # a packed ensemble is cut from M whole networks, of which (alpha / M)^2 is left
FREE_TENSORS, TENSORS = 4000, 64  # that may be made, whatever is in the file and for each tensor there


class Limited(TorchDispatchMode):
    """Stop a constructor before it takes more memory than the network that a file holds can need.

    Args:
        state: the weights in the file.

    Raises:
        Unfit: it would make too many new tensors or too many numbers in them, all together, or compute one such.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.limit = FREE + TIMES * sum(prod(value.shape) for value in state.values() if isinstance(value, Tensor))
        self.tensors = FREE_TENSORS + TENSORS * len(state)
        self.made = self.made_tensors = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if all(returned.alias_info is None for returned in func._schema.returns):  # neither in place nor a view
            self._foresee(func, args, kwargs)
        return func(*args, **kwargs)

    def _foresee(self, func, args: tuple, kwargs: dict) -> None:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor.is_meta for tensor in given) or torch.device(kwargs.get("device") or "cpu").type == "meta":
            return
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        kwargs = {key: None if key in ("generator", "pin_memory") else value for key, value in kwargs.items()}
        if any(argument.name == "device" for argument in func._schema.arguments):
            kwargs["device"] = "meta"
        size = 0
        with suppress(RuntimeError):  # what depends on its inputs' values is no larger than they are
            size = sum(leaf.numel() for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor))
        if not given:
            self.made += size
            self.made_tensors += 1
        if max(size, self.made) > self.limit or self.made_tensors > self.tensors:
            raise Unfit("its network is far larger than the weights in the file")


def built_otherwise(about: dict) -> dict:
    """The description without what has to do with where a training started, since all weights are in the checkpoint."""
    model = dict(about["model"])
    if model.get("pretrained") is True:
        model["pretrained"] = False
    if isinstance(model.get("kwargs"), dict) and type(model["kwargs"].get("checkpoint_path")) is str:
        model["kwargs"] = {key: value for key, value in model["kwargs"].items() if key != "checkpoint_path"}
    return {**about, "model": model}


def refusal(path: object, error: Exception, fix: str) -> UserError:
    """The sentence for a file that was refused."""
    return UserError(f"{path} cannot be read ({reason(error)}); {fix}.")
