"""From a composed config to a method, and back from a checkpoint's description to its network."""

import os
import re
import traceback
from collections.abc import Callable
from functools import partial

import hydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ensembles.errors import Foreign, UserError, reason
from ensembles.likelihoods import Categorical, Likelihood
from ensembles.methods import Method
from ensembles.untrusted import Unfit, require_plain

OWN = "ensembles."


def description(config: DictConfig, data) -> dict:
    """Give what a checkpoint must say for its network to be built again, in plain containers, numbers and strings.

    Raises:
        UserError: a setting that a checkpoint could not be read with.
    """
    about = {
        "method": OmegaConf.to_container(config.method, resolve=True),
        "model": OmegaConf.to_container(config.model, resolve=True),
        "num_classes": data.num_classes,
        "in_channels": data.in_channels,
        "image_size": data.image_size,
    }
    if "likelihood" in config.data:
        about["likelihood"] = OmegaConf.to_container(config.data.likelihood, resolve=True) | data.target_scale
    try:
        require_plain({key: about[key] for key in ("method", "model", "likelihood") if key in about}, "config")
    except Unfit as error:
        raise UserError(f"{reason(error)}: settings are finite numbers, short strings, lists and dicts.") from error
    return about


def scale_as_trained(data, about: dict) -> None:
    """Have inputs and targets scaled as those were on which a described network was trained, whatever the data are."""
    each = {key: about[key] * (about["in_channels"] // len(about[key])) for key in ("mean", "std")}
    data.trained_scale = each["mean"], each["std"]
    if "likelihood" in about:
        data.target_scale = {key: value for key, value in about["likelihood"].items() if key.startswith("target_")}


def method(about: dict) -> Method:
    """Build the freshly initialised method of a description.

    Raises:
        UserError: settings with which it cannot be built.
    """
    size, target = about["image_size"], about["method"]["_target_"]
    if about["model"].get("pretrained") and not hydra.utils.get_object(target).keeps_pretrained:
        name = target.rpartition(".")[2]
        raise UserError(
            f"{name} draws its weights anew, so nothing would be left of model.pretrained: set it to false."
        )
    built = call(about["method"], backbone=backbone(about), input_shape=(about["in_channels"], size, size))
    built.likelihood = likelihood(about)
    return built


def likelihood(about: dict) -> Likelihood:
    """Build the likelihood of a description or of a data set's settings; they name one where numbers are predicted."""
    return call(about["likelihood"]) if "likelihood" in about else Categorical()


def backbone(about: dict) -> Callable[[], nn.Module]:
    """Make what builds a description's backbone, freshly initialised at each call."""
    size = {key: about[key] for key in ("num_classes", "in_channels", "image_size")}
    return partial(_network, about["model"], **size)


def _network(config: dict, **size: int) -> nn.Module:
    network = call(config, **size)
    if not isinstance(network, nn.Module):
        raise UserError(f"{config['_target_']} gives {type(network).__name__}, but must give a torch.nn.Module.")
    return network


def call(config: dict | DictConfig, **arguments):
    """Call a config's ``_target_`` with its settings.

    Raises:
        UserError: what it raises itself, settings that it doesn't take, or what fails in code that is not ours.
        RuntimeError: memory that does not suffice.
    """
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from cause.__cause__
        if isinstance(cause, MemoryError | RuntimeError) and "memory" in f"{type(cause).__name__} {cause}".lower():
            raise cause from cause.__cause__
        nested = re.match(r"Error in call to target '([^']+)'", str(error))
        _explain(nested[1] if nested else config["_target_"], cause, error)
        raise


def _explain(target: object, cause: Exception, error: Exception) -> None:
    """Raise a sentence about what has gone wrong in a call of ``target``, unless that is a fault of this package's."""
    frames = traceback.extract_tb(cause.__traceback__)
    if isinstance(cause, hydra.errors.HydraException | ImportError) or _is_in(frames[-1], "hydra"):
        root = cause
        while root.__cause__ is not None:
            root = root.__cause__
        kind = "" if root is cause else f"{type(root).__name__}: "
        verb = "does not take its settings" if root is cause else "cannot be loaded"
        raise UserError(f"{target} {verb}: {kind}{reason(root).rstrip(':')}.") from error
    if not str(target).startswith(OWN):
        place = next((frame for frame in reversed(frames) if not _is_in(frame, "site-packages")), frames[-1])
        where = f"{os.path.basename(place.filename)}, line {place.lineno}"
        raise Foreign(f"{target} fails with {type(cause).__name__}: {reason(cause)} ({where}).") from error
    if isinstance(cause, TypeError | ValueError):
        raise UserError(f"{target} does not take its settings: {reason(cause).rstrip(':')}.") from error


def _is_in(frame: traceback.FrameSummary, folder: str) -> bool:
    return f"{os.sep}{folder}{os.sep}" in frame.filename
