"""The command line, read before Hydra acts on it."""

import os
import sys

from hydra._internal.utils import get_args_parser

from ensembles.cli import CONFIGS, complain
from ensembles.cli.help import show
from ensembles.cli.overrides import check
from ensembles.errors import UserError
from ensembles.sweeps import Sweep


def planned() -> Sweep | None:
    """The sweep that the command line asks for, or None for one run; bad arguments end the program in one sentence."""
    arguments = get_args_parser().parse_args()
    sys.path.append(os.getcwd())  # networks and methods of the user's own, by their module's name
    if arguments.help:
        show()
        sys.exit()
    if arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
        return None
    try:
        check(arguments.overrides, arguments.config_dir, bool(arguments.multirun))
        if not arguments.multirun:
            _check_alone(arguments.overrides)
            return None
        sweep = Sweep.plan(arguments.overrides, arguments.config_dir)
    except UserError as error:
        complain(error)
        sys.exit(1)
    os.environ["SWEEP_FOLDER"] = str(sweep.folder)  # hydra.sweep.dir, where Hydra and its launchers keep their own
    if any(map(_sweeps_group, arguments.overrides)):
        sys.argv = [_added(word) if word in arguments.overrides else word for word in sys.argv]
    return sweep


def _sweeps_group(override: str) -> bool:
    group, _, options = override.partition("=")
    return "," in options and (CONFIGS / group).is_dir()


def _added(override: str) -> str:
    """The override of a setting as one that may add it: Hydra first composes a multirun without the swept groups.

    By then all keys have been checked in the runs' own configurations.
    """
    key = override.partition("=")[0]
    return f"++{override}" if "." in key and key[0] not in "+~" and not key.startswith("hydra.") else override


def _check_alone(overrides: list[str]) -> None:
    for override in overrides:
        if override.startswith(("cluster=", "hydra/launcher=")):
            raise UserError(f"{override} makes each run of a multirun a job: add -m, also for one run.")
