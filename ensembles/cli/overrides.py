"""The command line's overrides: a typo fails at once and names what was probably meant."""

import difflib
from collections.abc import Iterable, Iterator

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ensembles.cli.composing import composing
from ensembles.cli.options import options_below, options_of, summary
from ensembles.errors import UserError


def check(arguments: list[str], config_dir: str | None = None) -> None:
    """Check every override's key, and its option where the key is a group.

    Args:
        config_dir: a folder of the user's own configs.

    Raises:
        UserError: names the near matches.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(arguments)
    except HydraException as error:
        raise UserError(f"The command line cannot be read: {str(error).splitlines()[0]}") from error
    with composing(config_dir):
        groups = [override for override in overrides if _is_group(override.key_or_group)]
        for override in groups:
            _check_options(override)
        try:
            chosen = [text for override in groups for text in _first(override)]
            config = compose("train", chosen, return_hydra_config=True)
        except (HydraException, ValueError) as error:  # the latter for a group that is set to null
            raise UserError(str(error).splitlines()[0]) from error
        for override in overrides:
            if override not in groups and not (override.is_add() or override.is_force_add()):
                _check_key(override, config)


def _check_options(override: Override) -> None:
    options = options_of(override.key_or_group)
    for value in _values(override):
        if value not in options:
            if f"{override.key_or_group}={value}" == "recipe=auto":
                raise UserError("recipe=auto is what a run gets anyway: leave recipe= out.")
            raise UserError(f"There is no {override.key_or_group}={value}{_instead(value, options)}")


def _check_key(override: Override, config: DictConfig) -> None:
    key = override.key_or_group
    if key.startswith("hydra.") and not key.startswith("hydra.launcher."):
        return
    try:
        known = OmegaConf.is_missing(config, key) or key in set(_keys(config))
    except OmegaConfBaseException:
        known = False
    if not known:
        group, _, name = key.rpartition(".")
        keys = [k for k in _keys(config) if k.startswith("hydra.launcher.") or k.partition(".")[0] != "hydra"]
        siblings = [k for k in keys if k.rpartition(".")[0] == group]
        near = _near(name, [k.rpartition(".")[2] for k in siblings])
        near = [f"{group}.{k}" if group else k for k in near] or ([] if siblings else _near(key, keys))
        listed = [k for k in siblings if not k.endswith("_target_")]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(listed or config)}."
        raise UserError(f"There is no key {key}: {hint}")


def _is_group(key: str) -> bool:
    return bool(options_of(key))


def _values(override: Override) -> Iterator[str]:
    if override.is_sweep_override():
        yield from override.sweep_string_iterator()
    elif isinstance(override.value(), list):
        yield from map(str, override.value())
    elif override.value() is not None:
        yield str(override.value())


def _first(override: Override) -> list[str]:
    if override.is_sweep_override():
        return [f"{override.get_key_element()}={next(override.sweep_string_iterator())}"]
    return [override.input_line]


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        name = f"{prefix}{key}"
        yield name
        if not OmegaConf.is_missing(config, key) and isinstance(config._get_node(key), DictConfig):
            node = config._get_node(key)
            if not node._is_none():
                yield from _keys(node, f"{name}.")


def _near(word: str, words: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(words), n=3, cutoff=0.6)


def _instead(word: str, options: list[str]) -> str:
    near = options_below(word, options) or _near(word, options)
    return f": did you mean {' or '.join(near)}?" if near else f"; there are {summary(options)}."
