"""What values the papers' symbols and the settings can take: one table, for the command line and for Python callers."""

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature

from ensembles.errors import UserError


def _integer(low, high=math.inf):
    wanted = f"an integer of at least {low}" if high == math.inf else f"an integer from {low} to {high}"
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, wanted


def _number(low, high=math.inf, *, open_low=False, open_high=False):
    def holds(v):
        if isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v):
            return False
        return (v > low if open_low else v >= low) and (v < high if open_high else v <= high)

    if high == math.inf:
        return holds, f"a number {'above' if open_low else 'of at least'} {low}"
    return holds, f"a number from {low} to {high}" + (f", {high} itself left out" if open_high else "")


def _one_of(*choices):
    listed = ", ".join(str(choice).lower() for choice in choices[:-1]) + f" or {str(choices[-1]).lower()}"
    return lambda v: any(type(v) is type(choice) and v == choice for choice in choices), listed


def _or_null(limit):
    holds, wanted = limit
    return lambda v: v is None or holds(v), f"{wanted}, or null"


def _numbers(length=None):
    def holds(v):
        some = isinstance(v, Sequence) and not isinstance(v, str) and all(map(_number(-math.inf)[0], v))
        return some and length in (None, len(v))

    return holds, f"a list of {length or ''} numbers".replace("  ", " ")


_UNITS = (
    lambda v: isinstance(v, Sequence) and not isinstance(v, str) and len(v) > 0 and all(map(_integer(1, 10**6)[0], v)),
    "a list of units, each an integer of at least 1, such as [50]",
)
_FLAG = lambda v: isinstance(v, bool), "true or false"
_PATH = lambda v: isinstance(v, str) and v.strip() != "", "a path"
_FLAG_OR_PATH = lambda v: isinstance(v, bool) or _PATH[0](v), "true, false or a path"
_LIST = lambda v: isinstance(v, Sequence) and not isinstance(v, str), "a list"
_BUILT = lambda v: isinstance(v, Mapping) and isinstance(v.get("_target_"), str), "{_target_: ..., its settings}"
_SETTINGS = lambda v: isinstance(v, Mapping), "{name: value}"

_BUDGET = (
    _number(0, 1000, open_low=True, open_high=True)[0],
    "a multiple of the backbone's parameters, above 0 and below 1000: max_params is their number",
)

OPTIMIZER = {
    "lr": _number(0, open_low=True),
    "momentum": _number(0, 1, open_high=True),
    "weight_decay": _number(0),
    "_partial_": _FLAG,
}

# Whose the settings are: a group's, whatever is chosen there, or everything's whose _target_ is in a package.
LIMITS = {
    "": {
        "seed": _integer(0, 2**63 - 1),
        "train": _FLAG,
        "ckpt_path": _or_null(_PATH),
        "test_on": _one_of("best", "last"),
        "force": _FLAG,
        "runs_dir": _PATH,
        "sweeps_dir": _PATH,
        "data": _BUILT,
        "model": _BUILT,
        "method": _BUILT,
        "recipe": _BUILT,
        "trainer": _SETTINGS,
        "runtime": _SETTINGS,
        "evaluation": _SETTINGS,
    },
    "data": {
        "val_fraction": _number(0, 1, open_high=True),
        "eval_batch_size": _integer(1),
        "augment": _or_null(_BUILT),
        "mix": _or_null(_BUILT),
        "likelihood": _BUILT,
    },
    "data.corrupted": {
        "source": _or_null(_one_of("written", "on_the_fly")),
        "size": _or_null(_integer(1)),
        "root": _or_null(_PATH),
    },
    "recipe": {
        "epochs": _integer(1),
        "batch_size": _integer(1),
        "optimizer": _BUILT,
        "schedule": _BUILT,
        "freeze_trunk": _FLAG,
    },
    "trainer": {
        "accelerator": _one_of("auto", "cpu", "gpu", "cuda", "mps"),
        "devices": _integer(1),
        "num_nodes": _integer(1),
        "precision": _one_of(32, "bf16-mixed", "16-mixed"),
        "gradient_clip_val": _or_null(_number(0)),
        "deterministic": _FLAG,
    },
    "runtime": {
        "progress": _FLAG,
        "form": _one_of("auto", "loop", "grouped"),
        "compile": _one_of("auto", True, False),
        "channels_last": _FLAG,
        "keep_every": _or_null(_integer(1)),
        "save_minutes": _number(0),
        "patience": _or_null(_integer(1)),
    },
    "evaluation": {
        "temperature_scaling": _FLAG,
        "restrict_classes": _FLAG,
        "save_predictions": _FLAG,
        "energy": _FLAG,
        "risk": _or_null(_number(0, 1, open_high=True)),
        "conformal": _or_null(_number(0, 1, open_low=True, open_high=True)),
    },
    "ensembles.methods": {
        "M": _integer(1, 1000),
        "alpha": _number(0, open_low=True),
        "gamma": _integer(1, 1000),
        "min_channels": _integer(1),
        "initialisation": _one_of("own", "common"),
        "batches": _one_of("common", "own"),
        "rho": _number(0, 1),
        "batch_repetition": _integer(1, 1000),
        "rate": _number(0, 1, open_high=True),
        "samples": _integer(1, 10_000),
        "scale": _number(1, 6),
        "budget": _BUDGET,
        "max_params": _or_null(_number(1)),
        "templates": _integer(1, 1000),
        "fast_lr": _number(0),
        "decay_fast": _FLAG,
        "site": _one_of("convolutions", "residual"),
        "penalty": _one_of("all", "layers"),
        "norm_l2": _number(0),
        "reduction": _one_of("sum", "mean"),
        "init": _one_of("normal", "signs", "close"),
        "grouping": _one_of("shape", "flat"),
        "checkpoints": _or_null(_LIST),
    },
    "ensembles.backbones": {
        "width": _number(0, 100, open_low=True),
        "depth": _integer(1, 10_000),
        "hidden": _UNITS,
        "widen_factor": _integer(1, 1000),
        "ghost_batch": _or_null(_integer(1)),
        "pretrained": _FLAG_OR_PATH,
        "late_stride": _FLAG,
        "conv_bias": _FLAG,
        "preactivation": _FLAG,
        "init": _or_null(_one_of("torch", "he")),
        "redraw": _one_of("initialiser", "bootstrap"),
        "kwargs": _or_null(_SETTINGS),
    },
    "ensembles.data": {
        "root": _or_null(_PATH),
        "cache_dir": _PATH,
        "sets_root": _or_null(_PATH),
        "download": _FLAG,
        "skip_broken": _FLAG,
        "num_workers": _or_null(_integer(0, 1000)),
        "image_size": _or_null(_integer(1, 100_000)),
        "train_image_size": _or_null(_integer(1, 10_000)),
        "train_size": _or_null(_integer(1, 10_000_000)),
        "test_size": _integer(1, 10_000_000),
        "set_seed": _integer(0),
        "split": _integer(0, 10_000),
        "noise": _number(0),
        "classes": _or_null(_LIST),
        "class_names": _or_null(_LIST),
        "in_memory": _or_null(_FLAG),
        "corrupted": _SETTINGS,
        "interpolation": _one_of("bilinear", "bicubic"),
        "mixup": _number(0, 100),
        "cutmix": _number(0, 100),
        "switch": _number(0, 1),
        "pad": _integer(0, 10_000),
        "flip": _FLAG,
    },
    "ensembles.training.recipe": {
        "warmup_epochs": _number(0),
        "l1": _number(0),
        "l2": _number(0),
        "decay_norms": _FLAG,
        "norms_lr": _number(0, open_low=True),
        "loss": _one_of("cross_entropy", "binary_cross_entropy"),
        "label_smoothing": _number(0, 1, open_high=True),
        "milestones": _numbers(),
        "decay": _number(0, open_low=True),
        "of": _number(0, open_low=True),
        "floor": _number(0, 1),
        "peak": (_number(0, 1, open_low=True, open_high=True)[0], "a number between 0 and 1"),
    },
    "torch.optim": OPTIMIZER,
    "timm.optim": OPTIMIZER,
}


OWN = {"method.": "ensembles.methods", "model.": "ensembles.backbones"}  # where a key's limits are looked for first


def require(where: str = "", **values) -> None:
    """Check each value against the limits that this package's own code has for its name; a name without any passes.

    Raises:
        UserError: a sentence that names the key (``where`` is put before it), its value and what it can be.
    """
    tables = [LIMITS.get(OWN.get(where), {}), *LIMITS.values()]
    for name, value in values.items():
        limit = next((limits[name] for limits in tables if name in limits), None)
        _require(limit, f"{where}{name}", value)


def require_all(config: Mapping) -> None:
    """Check a composed config: every setting against the limits of whose it is; what is the user's own passes.

    Raises:
        UserError: as `require`, or a setting that is not there.
    """
    for group in ("", "trainer", "runtime", "evaluation"):
        _require_there(group, config[group] if group else config)
    require_settings("", config)
    for name in ("val_fraction", "eval_batch_size"):
        _require_there("data", config["data"], (name,))
    _require_there("recipe", config["recipe"], ("epochs", "batch_size"))


def require_settings(where: str, settings: Mapping) -> None:
    """Check settings, and those in them, against the limits of what their ``_target_`` names and of their place.

    Raises:
        UserError: as `require`.
    """
    target = str(settings.get("_target_", ""))
    package = next((name for name in LIMITS if name and target.startswith(f"{name}.")), None)
    limits = LIMITS.get(package, {}) | LIMITS.get(where, {})
    for name, value in settings.items():
        key = f"{where}.{name}" if where else str(name)
        _require(limits.get(name), key, value)
        if isinstance(value, Mapping):
            require_settings(key, value)


def _require_there(where: str, settings: object, names: Sequence[str] | None = None) -> None:
    for name in names or LIMITS[where]:
        if isinstance(settings, Mapping) and name not in settings:
            key = f"{where}.{name}" if where else name
            raise UserError(f"{key} has no value: give it one, {key}=...")


def _require(limit: tuple | None, key: str, value: object) -> None:
    if limit is not None and not limit[0](value):
        raise UserError(f"{key} is {value!r}, but must be {limit[1]}.")


def settings_of(constructor: Callable) -> Callable[[Callable], Callable]:
    """Show a function's ``**settings`` as those of the constructor that it hands them to, where their defaults stand.

    So `inspect.signature`, against which a checkpoint's settings are held, has them all.
    """

    def shown(function: Callable) -> Callable:
        own = signature(function)
        given = [
            parameter.replace(kind=Parameter.KEYWORD_ONLY)
            for name, parameter in signature(constructor).parameters.items()
            if name not in own.parameters and parameter.default is not Parameter.empty
        ]
        function.__signature__ = own.replace(parameters=[*list(own.parameters.values())[:-1], *given])
        return function

    return shown
