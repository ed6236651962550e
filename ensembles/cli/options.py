"""The options of a config group; those of ``experiment`` are also in folders, one a paper."""

from collections import Counter
from collections.abc import Sequence

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

IN_FOLDERS = "experiment"
LISTED = 12  # options in folders that a sentence names


def options_of(group: str) -> list[str]:
    """List a group's options, such as packed/table1-c10-r18-packed of experiment."""
    loader = GlobalHydra.instance().config_loader()
    options = loader.get_group_options(group, config_name="train")
    if group == IN_FOLDERS or group.startswith(f"{IN_FOLDERS}/"):
        for folder in loader.get_group_options(group, ObjectType.GROUP, config_name="train"):
            options += [f"{folder}/{option}" for option in options_of(f"{group}/{folder}")]
    return options


def options_below(word: str, options: Sequence[str]) -> list[str]:
    """List the first options in folders that begin with a word, such as packed/table1."""
    return [option for option in options if "/" in option and option.startswith(word)][:LISTED]


def summary(options: Sequence[str]) -> str:
    """Name the options; of those in folders, which are many, their numbers."""
    folders = Counter(option.partition("/")[0] for option in options if "/" in option)
    own = sorted(option for option in options if "/" not in option)
    return ", ".join([*own, *(f"{folder}/... ({count})" for folder, count in sorted(folders.items()))])
