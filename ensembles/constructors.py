"""What a file may name to be built: constructors of this package, and of packages that the caller trusts.

Hydra builds what the command line names. What a file names is built here, by nothing but a look-up among known
constructors and a call.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ensembles.limits import require_settings
from ensembles.plain import LARGEST, Unfit, number

KINDS = ("methods", "backbones", "likelihoods")
OF_HYDRA = ("_target_", "_partial_", "_convert_", "_recursive_")
MOST = {"M": 512, "samples": 4096, "depth": 1204}
MOST_OTHERWISE = 1_000_000  # of an integer setting
LARGE = ("budget",)  # a number of parameters
# Arguments of timm's and torchvision's that say where numbers come from or what is made of the network, not its form.
NOT_FORM = re.compile(
    r"pretrained(?!_window_sizes?$).*|(?!init_).*weights|.*(checkpoint|cache|url|hub|hf_|source|script|export|jit)\w*|"
    r"custom_load|model_cfg|model_args|model_name|name|feature_cfg|feature_cls|features_only|out_indices|kwargs_filter|"
    r"file|path|device|dtype|progress"
)
WORD = re.compile(r"[\w.+-]{0,100}")


def find(target: object, kind: str, trust: Sequence[str]) -> Callable:
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
    """Whether a name that `find` has found is this package's."""
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


def check(node: object, kind: str, trust: Sequence[str], given: Collection[str] = ()) -> None:
    """See that a file's settings suit the constructor that they name.

    Args:
        node: plain data.
        given: arguments that the program gives by itself.

    Raises:
        Unfit: they do not.
    """
    target = node.get("_target_") if isinstance(node, dict) else None
    constructor = find(target, kind, trust)
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
        if type(value) is int and value > MOST.get(key, LARGEST if key in LARGE else MOST_OTHERWISE):
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
            find(value["_target_"], kind, trust)
        elif any(key.startswith("_") and key.endswith("_") for key in value):
            raise Unfit("its settings have a key of Hydra's without a _target_")
        for child in _settings(value).values():
            _check_nested(child, kind, trust)


def _suits(value: object, annotation: object) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_suits(value, one) for one in arguments)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin is dict:
        return type(value) is dict
    if origin is Sequence:
        return type(value) is list and all(_suits(item, *arguments) for item in value)
    if annotation is float:
        return number(value)
    if annotation is type(None):
        return value is None
    return type(value) is annotation


def _check_arguments(kwargs: dict, target: str) -> None:
    """See that arguments for timm's or torchvision's constructor are about the network's form and nothing else."""
    left: list[tuple[str, object]] = []
    for key, value in kwargs.items():
        if not key.isidentifier() or key.startswith("_") or NOT_FORM.fullmatch(key):
            raise Unfit(f"model.kwargs of {target} has {key[:100]}, which is not about the network's form")
        left.append((key, value))
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            if not all(name.isidentifier() and not name.startswith("_") for name in value):
                raise Unfit(f"model.kwargs.{key} of {target} is no setting of a network")
            _check_arguments(value, target)
        elif isinstance(value, list):
            left += [(key, item) for item in value]
        elif isinstance(value, str) and not WORD.fullmatch(value):
            raise Unfit(f"model.kwargs.{key} of {target} is {_shown(value)}, which is no word")
        elif type(value) in (int, float) and abs(value) > MOST_OTHERWISE:
            raise Unfit(f"model.kwargs.{key} of {target} is {value}, which is too large")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def construct(node: dict, kind: str, trust: Sequence[str], **arguments):
    """Build what checked settings describe."""
    nested = node.get("_recursive_", True)
    settings = {key: _built(value, kind, trust) if nested else value for key, value in _settings(node).items()}
    return find(node["_target_"], kind, trust)(**settings, **arguments)


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
