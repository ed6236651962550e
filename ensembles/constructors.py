"""Building what a file describes without trusting it, from plain data whose form `ensembles.untrusted` has checked.

Hydra builds what the command line names; what a file names is built here, by nothing but a look-up among constructors
of this package, and of packages that the caller trusts, and a call, in no more memory than the file's weights explain.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import prod
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ensembles.limits import require_settings
from ensembles.untrusted import LARGEST, STRICT, Unfit

KINDS = ("methods", "backbones", "likelihoods")
OF_HYDRA = ("_target_", "_partial_", "_convert_", "_recursive_")
GIVEN = {"methods": ("backbone", "input_shape"), "backbones": ("num_classes", "in_channels", "image_size")}
MOST = {"M": 1000, "samples": 10_000, "depth": 1204, "max_params": LARGEST}
MOST_OTHERWISE = 1_000_000  # of an integer setting
# Arguments of timm's and torchvision's that say where numbers come from or what is made of the network, not its form.
NOT_FORM = re.compile(
    r"pretrained(?!_window_sizes?$).*|(?!init_).*weights|.*(checkpoint|cache|url|hub|hf_|source|script|export|jit)\w*|"
    r"custom_load|model_cfg|model_args|model_name|name|feature_cfg|feature_cls|features_only|out_indices|kwargs_filter|"
    r"file|path|device|dtype|progress"
)
WORD = re.compile(r"[\w.+-]{0,100}")


def find_constructor(target: object, kind: str, trust: Sequence[str]) -> Callable:
    """Find the constructor that a file names.

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


def _own(kind: str) -> dict[str, Callable]:
    module = importlib.import_module(f"ensembles.{kind}")
    listed = {name: getattr(module, name) for name in module.__all__}
    base = {"methods": "Method", "likelihoods": "Likelihood"}.get(kind)
    return {name: value for name, value in listed.items() if name != base}


def _trusted(target: str, trust: Sequence[str]) -> Callable:
    """Find what the name stands for, where a trusted package defines it itself and has not just imported it."""
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
    if not target.startswith(tuple(f"ensembles.{own}." for own in KINDS)) or target.partition(".")[0] in trust:
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
            _check_argument(key, value or {}, target)
        elif key == "checkpoints" and value:
            raise Unfit(f"{target} names other files")
    lacking = [p.name for p in parameters.values() if p.default is p.empty and p.name not in (*given, *node)]
    if lacking:
        raise Unfit(f"{target} lacks its setting {lacking[0]}")
    require_settings(kind[:-1].replace("backbone", "model"), node)


def _settings(node: Mapping) -> dict:
    return {key: value for key, value in node.items() if key not in OF_HYDRA}


def _check_nested(value: object, kind: str, trust: Sequence[str]) -> None:
    """Check nested things to be built, which occur in trusted packages' settings alone, and are theirs."""
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


def _check_argument(key: str, value: object, target: str) -> None:
    """See that an argument for timm's or torchvision's constructor is about the network's form and nothing else."""
    if isinstance(value, dict):
        for name, child in value.items():
            if not name.isidentifier() or name.startswith("_") or NOT_FORM.fullmatch(name):
                raise Unfit(f"model.kwargs of {target} has {name[:100]}, which is not about the network's form")
            _check_argument(name, child, target)
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


def without_pretrained(about: dict) -> dict:
    """Copy a description without what a training started from, since all weights are in the checkpoint."""
    model = dict(about["model"])
    if type(model.get("pretrained")) in (bool, str):
        model["pretrained"] = False
    if isinstance(model.get("kwargs"), dict) and type(model["kwargs"].get("checkpoint_path")) is str:
        model["kwargs"] = {key: value for key, value in model["kwargs"].items() if key != "checkpoint_path"}
    return {**about, "model": model}
