"""The command ``ensembles``: a file a command, each with a ``main`` that reads ``sys.argv``.

``python train.py`` and ``python scripts/<command>.py`` call the same from a checkout. Imports no torch.
"""

import ast
import difflib
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from ensembles import __version__

COMMANDS = (
    *("train", "predict", "sweep", "report", "describe", "metrics", "export", "corrupt"),
    *("study", "reproduce", "claims", "push", "pull", "verify", "leaderboard"),
)
STOPPED = b"Stopped by Ctrl-C: the same command goes on from what is saved.\n"


def main() -> None:
    """Run the command that the command line names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        show_help()
    elif name == "--version":
        show_version()
    elif name in COMMANDS:
        sys.argv = [f"ensembles {name}", *arguments]
        run(name)
    else:
        near = [f"train {name}"] if "=" in name else difflib.get_close_matches(name, COMMANDS, 1)
        instead = f"did you mean ensembles {near[0]}?" if near else f"there are {', '.join(COMMANDS)}."
        print(f"error: There is no command {name}: {instead}", file=sys.stderr)
        sys.exit(1)


def run(name: str) -> None:
    """Run a command with the arguments in ``sys.argv``.

    Ctrl-C ends it at once while it is imported, and ``train`` until its work begins: raised in the midst of an import
    or of Hydra's composition it would be taken for an error of theirs.
    """
    if sys.argv[1:] == ["--version"]:  # Hydra's parser would give its own
        return show_version()

    def end(*_: object) -> None:
        if name == "train":
            os.write(2, STOPPED)
        os._exit(130)

    before = signal.signal(signal.SIGINT, end)
    try:
        program = import_module(f"ensembles.commands.{name}")
        if name != "train":
            signal.signal(signal.SIGINT, before)
        program.main()
    finally:
        signal.signal(signal.SIGINT, before)


def show_version() -> None:
    print(f"ensembles {__version__}")


def show_help() -> None:
    """List the commands, each by its docstring's first sentence."""
    print("Usage: ensembles COMMAND ...     (ensembles COMMAND --help tells more)\n")
    for name in COMMANDS:
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        print(f"  {name:<13}{ast.get_docstring(ast.parse(source)).splitlines()[0]}")
