"""Whatever can be told from a composed config alone."""

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ensembles.cli.names import TAKEN
from ensembles.cli.regression import require_classes_unasked
from ensembles.data.files.fingerprint import fingerprint
from ensembles.errors import UserError, reason
from ensembles.limits import require_all

OmegaConf.register_new_resolver("fingerprint", fingerprint, replace=True)


def checked(config: DictConfig) -> dict:
    """The config as plain containers, all values within their limits.

    Raises:
        UserError: names the key that is missing or out of its range.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value: give it one, {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        if own := _own(error):
            raise own from None
        raise UserError(f"{reason(error)}.") from error
    for group in ("logger", "strategy"):
        plain[group] = plain.get(group) or {}  # logger=[] leaves the group out
    require_all(plain)
    for name, instead in TAKEN.items():
        if name in plain["trainer"]:
            raise UserError(f"trainer.{name} is not for a run to set, since {instead}: leave it out.")
    for key in ("devices", "num_nodes"):
        if plain["trainer"][key] > 1 and "_target_" not in plain["strategy"]:
            raise UserError(f"trainer.{key}={plain['trainer'][key]} needs strategy=ddp or strategy=fsdp.")
    if "likelihood" in plain["data"]:
        require_classes_unasked(plain)
    if plain["evaluation"]["temperature_scaling"] and not plain["data"]["val_fraction"]:
        raise UserError("evaluation.temperature_scaling needs a validation split: set data.val_fraction above 0.")
    if not plain["train"] and not plain["ckpt"]:
        raise UserError("train=false needs a checkpoint to evaluate: ckpt=<path>.")
    return plain


def _own(error: BaseException | None) -> UserError | None:
    """The package's own error that a resolver has raised, from under what OmegaConf has made of it."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error
