"""Whatever can be told from a composed config alone."""

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

from ensembles.cli.regression import require_classes_unasked
from ensembles.data.files.fingerprint import fingerprint
from ensembles.errors import UserError
from ensembles.limits import require

OmegaConf.register_new_resolver("fingerprint", fingerprint, replace=True)

GROUPS = ("data", "model", "method", "recipe", "trainer", "evaluation")


def checked(config: DictConfig) -> dict:
    """The config as plain containers, all values within their limits.

    Raises:
        UserError: names the key that is missing or out of its range.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value: give it one, {error.full_key}=...") from error
    except InterpolationResolutionError as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(str(error).splitlines()[0]) from error
    require(**{key: plain[key] for key in ("seed", "train", "force")})
    for group in GROUPS:
        _check_group(group, plain[group])
    for key in ("devices", "num_nodes"):
        if plain["trainer"][key] > 1 and "_target_" not in (plain["strategy"] or {}):
            raise UserError(f"trainer.{key}={plain['trainer'][key]} needs strategy=ddp or strategy=fsdp.")
    if plain["checkpoint"] not in ("best", "last"):
        raise UserError(f"checkpoint is {plain['checkpoint']!r}, but must be best or last.")
    if "likelihood" in plain["data"]:
        require_classes_unasked(plain)
    if plain["evaluation"]["temperature_scaling"] and not plain["data"]["val_fraction"]:
        raise UserError("evaluation.temperature_scaling needs a validation split: set data.val_fraction above 0.")
    if not plain["train"] and not plain["ckpt"]:
        raise UserError("train=false needs a checkpoint to evaluate: ckpt=<path>.")
    return plain


def _check_group(where: str, settings: dict) -> None:
    for key, value in settings.items():
        if isinstance(value, dict):
            _check_group(f"{where}.{key}", value)
        else:
            require(f"{where}.", **{key: value})
