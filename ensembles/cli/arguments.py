"""The command line, read before Hydra acts on it."""

import sys

from hydra._internal.utils import get_args_parser

from ensembles.cli import complain
from ensembles.cli.help import show
from ensembles.cli.overrides import check
from ensembles.errors import UserError
from ensembles.sweeps import Sweep


def planned() -> Sweep | None:
    """The sweep that the command line asks for, or None for one run; bad arguments end the program in one sentence."""
    arguments = get_args_parser().parse_args()
    if arguments.help:
        show()
        sys.exit()
    if arguments.hydra_help or arguments.cfg or arguments.info or arguments.shell_completion:
        return None
    try:
        check(arguments.overrides)
        return Sweep.plan(arguments.overrides) if arguments.multirun else None
    except UserError as error:
        complain(error)
        sys.exit(1)
