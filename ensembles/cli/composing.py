"""Composing configs outside Hydra's own run: to check a command line before it runs, or to plan a sweep."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra

from ensembles.cli import CONFIGS


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
