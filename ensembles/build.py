"""From a composed config to a method, and back from a checkpoint's description to its network."""

from collections.abc import Callable
from functools import partial

import hydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ensembles.errors import UserError, reason
from ensembles.likelihoods import Categorical, Likelihood
from ensembles.methods import Method
from ensembles.plain import Unfit, require_plain


def description(config: DictConfig, data) -> dict:
    """What a checkpoint must say for its network to be built again: plain containers, numbers and strings only.

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
        about["likelihood"] = OmegaConf.to_container(config.data.likelihood, resolve=True)
    try:
        require_plain({key: about[key] for key in ("method", "model", "likelihood") if key in about}, "config")
    except Unfit as error:
        raise UserError(f"{reason(error)}: settings are finite numbers, short strings, lists and dicts.") from error
    return about


def method(about: dict) -> Method:
    """The freshly initialised method of a description.

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
    """That of a description or of a data set's settings, which name one only where numbers are predicted."""
    return call(about["likelihood"]) if "likelihood" in about else Categorical()


def backbone(about: dict) -> Callable[[], nn.Module]:
    """What builds a description's backbone, freshly initialised at each call."""
    size = {key: about[key] for key in ("num_classes", "in_channels", "image_size")}
    return partial(call, about["model"], **size)


def call(config: dict | DictConfig, **arguments):
    """Call a config's ``_target_`` with its settings.

    Raises:
        UserError: what it raises itself, or settings that it doesn't take.
    """
    try:
        return hydra.utils.instantiate(config, **arguments, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, TypeError | ValueError | ImportError | hydra.errors.InstantiationException):
            raise UserError(f"{config['_target_']} does not take its settings: {reason(cause).rstrip(':')}.") from error
        raise
