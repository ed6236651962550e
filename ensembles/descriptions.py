"""What a file says of its network or predictions: its schema, checked whole before anything is built from it.

A description is plain data (`ensembles.plain`). Whoever builds from one checks its constructors too, by
`require_constructors`.
"""

from collections.abc import Sequence

from ensembles import constructors
from ensembles.errors import UserError, reason
from ensembles.plain import Unfit, entry, integer, number, numbers, require_plain, texts

MOST_CLASSES = 1_000_000
MOST_CHANNELS = 100_000
MOST_PIXELS = 16_384  # along an image's side
GIVEN = {"methods": ("backbone", "input_shape"), "backbones": ("num_classes", "in_channels", "image_size")}
FLAGS = ("temperature_scaling", "restrict_classes", "save_predictions")


def require_network(about: object) -> None:
    """See that a checkpoint's description has this program's form.

    Raises:
        Unfit: it has not.
    """
    require_plain(about, "its description")
    for part in ("method", "model"):
        _require_target(entry(about, part, dict, ""), part)
    if "likelihood" in about:
        _require_target(entry(about, "likelihood", dict, ""), "likelihood")
    for key, most in (("num_classes", MOST_CLASSES), ("in_channels", MOST_CHANNELS), ("image_size", MOST_PIXELS)):
        if not integer(about.get(key), 1, most):
            raise Unfit(f"{key} is {_shown(about, key)}, but must be an integer from 1 to {most}")
    for key in ("mean", "std"):
        if not numbers(about.get(key)) or len(about[key]) not in (1, about["in_channels"]):
            raise Unfit(f"{key} must be a list of finite numbers, one for each channel")
    if min(about["std"]) < 0:
        raise Unfit("std is below 0")
    if not texts(about.get("class_names")) or len(about["class_names"]) > MOST_CLASSES:
        raise Unfit("class_names must be a list of strings")
    if not integer(about.get("format", 1), 1, 1000):
        raise Unfit("format must be a small integer")


def require_constructors(about: dict, trust: Sequence[str]) -> None:
    """See that what a description wants to be called is this package's or trusted, and takes the settings.

    Raises:
        Unfit: something else is to be called, or with settings that are none.
    """
    constructors.check(about["method"], "methods", trust, GIVEN["methods"])
    constructors.check(about["model"], "backbones", trust, GIVEN["backbones"])
    if "likelihood" in about:
        constructors.check(about["likelihood"], "likelihoods", trust)


def require_predictions(about: object, trust: Sequence[str]) -> None:
    """The same for what a file of predictions says of them.

    Raises:
        Unfit: another form, or a likelihood that is neither this package's nor trusted.
    """
    sets = {key: entry(about, key, dict, "") for key in ("classes", "groups")}  # checked with the sets they are of
    require_plain({key: value for key, value in about.items() if key not in sets}, "its description")
    config = entry(about, "config", dict, "")
    for part in ("data", "evaluation"):
        entry(config, part, dict, "config.")
    entry(config, "seed", int, "config.")
    if type(config.get("checkpoint")) is not str or type(config.get("ckpt")) not in (str, type(None)):
        raise Unfit("config says in no right way which checkpoint was tested")
    for key, value in config["evaluation"].items():
        if key not in FLAGS or type(value) is not bool:
            raise Unfit(f"config.evaluation.{key} is no setting of an evaluation")
    if "likelihood" in config["data"]:
        constructors.check(entry(config["data"], "likelihood", dict, "config.data."), "likelihoods", trust)
    if not texts(about.get("class_names")):
        raise Unfit("class_names must be a list of strings")
    for key, found in sets.items():
        for name, value in found.items():
            if type(value) is not list:
                raise Unfit(f"{key}.{name} is no list")


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


def _require_target(node: dict, where: str) -> None:
    if type(node.get("_target_")) is not str:
        raise Unfit(f"{where} does not say what it is, by _target_")


def _shown(about: dict, key: str) -> str:
    value = about.get(key)
    return repr(value) if value is None or number(value) or type(value) is bool else f"a {type(value).__name__}"
