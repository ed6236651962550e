"""Composing configs outside Hydra's own run: to check a command line before it runs, or to plan a sweep."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ensembles.cli import CONFIGS
from ensembles.errors import UserError, reason


@contextmanager
def composing(config_dir: str | None = None) -> Iterator[None]:
    """Make hydra.compose and the config groups available.

    Args:
        config_dir: a folder of the user's own configs, as ``--config-dir`` names it; found before the project's.
    """
    search_path = create_config_search_path(str(CONFIGS))
    if config_dir:
        search_path.prepend("command-line", f"file://{os.path.abspath(config_dir)}")
    Hydra.create_main_hydra2("train", search_path)
    try:
        with warnings.catch_warnings():
            # hydra-submitit-launcher, where it is installed, has launchers of the same names
            warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/submitit_")
            yield
    finally:
        GlobalHydra.instance().clear()


def composed(overrides: list[str]) -> DictConfig:
    """The config of a command line, with Hydra's own part.

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


def refused(error: Exception) -> UserError:
    """What Hydra or OmegaConf has against a config, as a sentence."""
    cause = error.__cause__
    because = f": {reason(cause)}" if isinstance(cause, OmegaConfBaseException) else ""
    return UserError(f"{reason(error)}{because}.")
