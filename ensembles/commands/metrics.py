"""Compute a run's results again from its saved predictions, without its network."""

from contextlib import suppress
from pathlib import Path

import yaml

from ensembles.cli import TRUST, command_parser, program
from ensembles.errors import UserError
from ensembles.limits import LIMITS, require
from ensembles.reports.terminal import show

SETTINGS = tuple(f"evaluation.{name}" for name in LIMITS["evaluation"] if name != "save_predictions")


def changes(overrides: list[str]) -> dict[str, bool | float | None]:
    """Read the settings by their names in the group.

    Raises:
        UserError: one that there is not, or a value out of its limits.
    """
    found = {}
    for text in overrides:
        key, _, value = text.partition("=")
        if key not in SETTINGS:
            raise UserError(
                f"There is no setting {key} here: {', '.join(SETTINGS[:-1])} and {SETTINGS[-1]} can be changed."
            )
        name = key.removeprefix("evaluation.")
        found[name] = value
        with suppress(yaml.YAMLError):  # as it is, it is out of the limits
            found[name] = yaml.safe_load(value)
        require("evaluation.", **{name: found[name]})
    return found


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("run", type=Path, help="a run's folder, evaluated with evaluation.save_predictions=true")
    parser.add_argument(
        "setting", nargs="*", help=f"what to evaluate otherwise: {', '.join(f'{s}=...' for s in SETTINGS)}"
    )
    parser.add_argument("--trust", **TRUST)
    arguments = parser.parse_args()
    changed = changes(arguments.setting)
    from ensembles.evaluation import evaluate_again  # imports torch, which takes seconds

    show(evaluate_again(arguments.run, changed, arguments.trust), arguments.run)
