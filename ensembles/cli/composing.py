"""Composing and checking configs outside Hydra's own run. Torch is not imported here."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from ensembles.data.files.fingerprint import fingerprint, table_fingerprint
from ensembles.errors import UserError, reason
from ensembles.limits import require_all
from ensembles.recipes import CONFIGS
from ensembles.renamed import require_all_present

LONG = "recipe.epochs says how long a training is"
VALIDATED = "each epoch is validated, or none with data.val_fraction=0"
# Lightning's settings that would undo what a run relies on.
TAKEN = {
    "max_epochs": LONG,
    "min_epochs": LONG,
    "max_steps": LONG,
    "min_steps": LONG,
    "max_time": LONG,
    "check_val_every_n_epoch": VALIDATED,
    "num_sanity_val_steps": VALIDATED,
    "fast_dev_run": "trainer=debug takes two steps of everything",
    "overfit_batches": "data.train_size makes the training set small",
    "strategy": "strategy=ddp or strategy=fsdp is a group of its own",
    "logger": "logger=... is a group of its own",
    "enable_progress_bar": "runtime.progress says it",
    "enable_checkpointing": "runtime.save_minutes and runtime.keep_every say what is saved",
    "default_root_dir": "runs_dir says where runs are",
    "use_distributed_sampler": "data are dealt to processes already",
    "enable_model_summary": "ensembles describe shows a network",
    "log_every_n_steps": "each epoch is logged",
    "callbacks": "a run has its own",
    "plugins": "a run has its own",
    "barebones": "a run needs its callbacks",
}


class UserConfigs(SearchPathPlugin):
    """The folder of configs that ``--config-dir`` names, where Hydra looks before the project's."""

    folder: str | None = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if self.folder:
            search_path.prepend("command-line", f"file://{os.path.abspath(self.folder)}")


Plugins.instance().register(UserConfigs)


@contextmanager
def composing(config_dir: str | None = None) -> Iterator[None]:
    """Make hydra.compose and the config groups available.

    Args:
        config_dir: a folder of the user's own configs, as ``--config-dir`` names it; found before the project's.
    """
    UserConfigs.folder = config_dir
    try:
        with initialize_config_dir(str(CONFIGS), "train", version_base="1.3"), warnings.catch_warnings():
            # hydra-submitit-launcher, where it is installed, has launchers of the same names
            warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/submitit_")
            yield
    finally:
        UserConfigs.folder = None


def composed(overrides: list[str]) -> DictConfig:
    """Compose the config of a command line, with Hydra's own part.

    Raises:
        UserError: overrides or files of configs that make none.
    """
    try:
        return compose("train", overrides, return_hydra_config=True)
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or reason(error)
        where = f" {mark.name}, line {mark.line + 1}," if mark else ""
        raise UserError(f"The config file{where} is no YAML ({problem}): mend it.") from error
    except (HydraException, OmegaConfBaseException, OSError, UnicodeError) as error:
        raise refused(error) from error
    except (ValueError, TypeError, AttributeError, AssertionError) as error:  # of files that hold no settings, say
        raise UserError(f"The configs do not fit together: {reason(error)}.") from error


def set_values(config: DictConfig, overrides: list[str]) -> None:
    """Set keys of a composed config to values, as Hydra does by an override of a key that is there.

    Raises:
        UserError: a value that does not fit its key.
    """
    try:
        for override in OverridesParser.create().parse_overrides(overrides):
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException as error:
        raise refused(error) from error


def refused(error: Exception) -> UserError:
    """Make a sentence of what Hydra or OmegaConf has against a config."""
    cause = error.__cause__
    because = f": {reason(cause)}" if isinstance(cause, OmegaConfBaseException) else ""
    return UserError(f"{reason(error)}{because}.")


OmegaConf.register_new_resolver("fingerprint", fingerprint, replace=True)
OmegaConf.register_new_resolver("table_fingerprint", table_fingerprint, replace=True)


def checked(config: DictConfig) -> dict:
    """Give the config, without Hydra's part, as plain containers, all values within their limits.

    Raises:
        UserError: names the key that is missing or out of its range.
    """
    try:
        own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        plain = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value: give it one, {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        if cause := _user_error(error):
            raise cause from None
        raise UserError(f"{reason(error)}.") from error
    for group in ("logger", "strategy"):
        plain[group] = plain.get(group) or {}  # logger=[] leaves the group out
    require_all_present(plain)
    require_all(plain)
    for name, instead in TAKEN.items():
        if name in plain["trainer"]:
            raise UserError(f"trainer.{name} is not for a run to set, since {instead}: leave it out.")
    for key in ("devices", "num_nodes"):
        if plain["trainer"][key] > 1 and "_target_" not in plain["strategy"]:
            raise UserError(f"trainer.{key}={plain['trainer'][key]} needs strategy=ddp or strategy=fsdp.")
    if "likelihood" in plain["data"]:
        _reject_classification_settings(plain)
    for group, name in (("evaluation", "temperature_scaling"), ("runtime", "patience")):
        if plain[group][name] and not plain["data"]["val_fraction"]:
            raise UserError(f"{group}.{name} needs a validation split: set data.val_fraction above 0.")
    if plain["trainer"].get("limit_val_batches") == 0 and plain["data"]["val_fraction"]:
        raise UserError("trainer.limit_val_batches=0 leaves nothing to validate on: set data.val_fraction=0 instead.")
    if plain["recipe"].get("freeze_trunk") and plain["model"].get("pretrained") is False and plain["train"]:
        raise UserError("recipe.freeze_trunk=true would freeze random numbers: set model.pretrained to true or a file.")
    if not plain["train"] and not plain["ckpt_path"]:
        raise UserError("train=false needs a checkpoint to evaluate: ckpt_path=<path>.")
    return plain


def _user_error(error: BaseException | None) -> UserError | None:
    """Find the package's own error that a resolver has raised, from under what OmegaConf has made of it."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


BACKBONES, POINTS = "ensembles.backbones.", ("mlp",)  # of the project's own networks, those that take points


def _reject_classification_settings(config: dict) -> None:
    """Refuse settings that are about classes, and networks for images, where numbers are predicted from points.

    Raises:
        UserError: names the setting.
    """
    asked = {
        "evaluation.temperature_scaling": config["evaluation"]["temperature_scaling"],
        "evaluation.energy": config["evaluation"]["energy"],
        "evaluation.risk": config["evaluation"]["risk"] is not None,
        "evaluation.conformal": config["evaluation"]["conformal"] is not None,
        "recipe.label_smoothing": config["recipe"].get("label_smoothing"),
        "recipe.loss": config["recipe"].get("loss", "cross_entropy") != "cross_entropy",
    }
    for key, there in asked.items():
        if there:
            group, _, name = key.partition(".")
            raise UserError(
                f"{key}={str(config[group][name]).lower()} is about classes, and this data set has numbers to predict: "
                "leave it out."
            )
    model = config["model"]["_target_"]
    if model.startswith(BACKBONES) and model.removeprefix(BACKBONES) not in POINTS:
        raise UserError(f"{model.removeprefix(BACKBONES)} takes images, and this data set has points: set model=mlp.")
