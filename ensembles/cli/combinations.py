"""The configurations that a command line with several choices stands for. Torch is not imported here."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import DictConfig

from ensembles.cli.as_trained import as_trained
from ensembles.cli.composing import composed, composing
from ensembles.cli.overrides import parsed


def combinations(arguments: list[str], config_dir: str | None = None) -> list[tuple[dict[str, str], DictConfig]]:
    """For each combination of the overrides' choices what tells it apart, as override -> value, and its config.

    Args:
        arguments: overrides that have been checked.
        config_dir: a folder of the user's own configs.

    Raises:
        UserError: a combination that cannot be composed.
    """
    found = []
    with composing(config_dir):
        overrides = parsed(arguments)
        varied = [override.get_key_element() for override in overrides if override.is_sweep_override()]
        for combination in BasicSweeper.split_arguments(overrides, None)[0]:
            values = dict(text.split("=", 1) for text in combination)
            config = composed(combination)
            config, _ = as_trained(config, config.hydra.runtime.choices, combination)
            found.append(({key: values[key] for key in varied}, config))
    return found
