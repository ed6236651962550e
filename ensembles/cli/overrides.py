"""The command line's overrides, and the configs they stand for: a typo fails at once and names what was meant."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import product

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ensembles.cli.checkpoint_config import compose_as_trained
from ensembles.cli.composing import composed, composing, set_values
from ensembles.errors import UserError, reason
from ensembles.renamed import require_present

# What settings are called elsewhere: the last word of a key, in lower case, without underscores.
ALIASES = {
    word: key
    for key, words in {
        "recipe.optimizer.lr": "lr learningrate",
        "recipe.optimizer.weight_decay": "wd",
        "recipe.optimizer": "optim optimiser",
        "recipe.schedule": "scheduler lrscheduler",
        "recipe.epochs": "maxepochs numepochs nepochs epoch maxsteps",
        "recipe.batch_size": "bs batch trainbatchsize",
        "data.eval_batch_size": "testbatchsize valbatchsize",
        "recipe.warmup_epochs": "warmup",
        "recipe.label_smoothing": "smoothing",
        "recipe.freeze_trunk": "freeze frozen freezebackbone freezeencoder freezetrunk linearprobe",
        "runtime.patience": "patience earlystopping earlystop earlystoppingpatience",
        "method.M": "members nummembers ensemblesize numestimators nestimators n",
        "method.rate": "dropout dropoutrate",
        "trainer.devices": "gpus ngpus",
        "trainer.accelerator": "device",
        "trainer.num_nodes": "nodes",
        "trainer.precision": "amp fp16",
        "trainer.gradient_clip_val": "gradclip clip",
        "trainer.accumulate_grad_batches": "accumulategradbatches accumulate accumulation gradaccum gradaccumulation "
        "gradientaccumulation gradientaccumulationsteps accumulationsteps accumsteps",
        "data.num_workers": "workers",
        "data": "dataset",
        "data.root": "root path datadir dataroot datapath",
        "data.image_size": "imgsize size",
        "model": "arch backbone network net",
        "method": "algorithm",
        "experiment": "config",
        "ckpt_path": "resume",
        "runs_dir": "outdir outputdir savedir",
        "force": "overwrite",
        "seed": "randomseed",
    }.items()
    for word in words.split()
}

ADDED = {  # settings that need not be there
    "recipe.freeze_trunk": "take recipe=finetune, which has recipe.freeze_trunk, or ",
    "trainer.accumulate_grad_batches": "",
}
CLOSED = ("evaluation", "runtime")  # groups of which nothing is built that could take another setting
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


def check(arguments: list[str], config_dir: str | None = None, multirun: bool = True) -> None:
    """Check every override's key, and its option where the key is a group.

    Args:
        config_dir: a folder of the user's own configs.
        multirun: whether an override may stand for several runs.

    Raises:
        UserError: names the near matches.
    """
    with composing(config_dir):
        overrides = parsed(arguments)
        for override in overrides:
            require_present(override.key_or_group)
            if override.is_sweep_override() and not multirun:
                raise UserError(f"{override.input_line} stands for several runs: add -m, or quote a value with commas.")
        groups = [override for override in overrides if options_of(override.key_or_group)]
        for override in groups:
            _check_options(override)
        config = composed([_first(override) for override in groups])
        for override in overrides:
            if override not in groups and not _adds_freely(override, arguments):
                _check_key(override.key_or_group, config)


def parsed(arguments: list[str]) -> list[Override]:
    """Parse the overrides that arguments are, where configs are available.

    Raises:
        UserError: an argument that is none.
    """
    try:
        return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(arguments)
    except HydraException as error:
        raise UserError(f"The command line cannot be read: {reason(error)}.") from error


def combinations(arguments: list[str], config_dir: str | None = None) -> list[tuple[dict[str, str], DictConfig]]:
    """Compose for each combination of the overrides' choices what tells it apart, override -> value, and its config.

    Args:
        arguments: overrides that have been checked.
        config_dir: a folder of the user's own configs.

    Raises:
        UserError: a combination that cannot be composed.
    """
    found, bases = [], {}
    with composing(config_dir):
        overrides = parsed(arguments)
        times = Counter(override.key_or_group for override in overrides)
        plain = [_is_plain_value(override) and times[override.key_or_group] == 1 for override in overrides]
        varied = [override.get_key_element() for override in overrides if override.is_sweep_override()]
        for combination in product(*map(_choices, overrides)):
            values = dict(text.split("=", 1) for text in combination)
            fixed = tuple(text for text, is_plain in zip(combination, plain, strict=True) if not is_plain)
            if fixed not in bases:  # Hydra takes a tenth of a second, so what differs in values alone is composed once
                bases[fixed] = composed(list(fixed))
            config = deepcopy(bases[fixed])
            set_values(config, [text for text, is_plain in zip(combination, plain, strict=True) if is_plain])
            config, _ = compose_as_trained(config, config.hydra.runtime.choices, combination)
            found.append(({key: values[key] for key in varied}, config))
    return found


def _is_plain_value(override: Override) -> bool:
    """Tell whether an override sweeps a key that is there, and no option of a group follows from it."""
    is_key = override.is_sweep_override() and not override.is_add() and not override.is_force_add()
    return is_key and not options_of(override.key_or_group) and not override.key_or_group.startswith("hydra")


def _choices(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line} stands for no list of values: name each.")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _check_options(override: Override) -> None:
    group, options, values = override.key_or_group, options_of(override.key_or_group), list(_values(override))
    folders = Counter(option.partition("/")[0] for option in options if "/" in option)
    listed = sorted(option for option in options if "/" not in option)
    there = ", ".join([*listed, *(f"{folder}/... ({count})" for folder, count in sorted(folders.items()))])
    if override.is_sweep_override() and not values:
        raise UserError(f"There is no {override.input_line}; there are {there}.")
    for value in values:
        if value in options:
            continue
        if f"{group}={value}" == "recipe=auto":
            raise UserError("recipe=auto is what a run gets anyway: leave recipe= out.")
        below = [option for option in options if "/" in option and option.startswith(value)][:LISTED]
        near = below or _near(value, options)
        instead = f": did you mean {' or '.join(near)}?" if near else f"; there are {there}."
        raise UserError(f"There is no {group}={value}{instead}")


def _adds_freely(override: Override, arguments: list[str]) -> bool:
    """Tell whether a key is added where any can be: below a group that something is built of, or for another value."""
    if not (override.is_add() or override.is_force_add()):
        return False
    group, _, rest = override.key_or_group.partition(".")
    return (bool(rest) and group not in CLOSED) or any(f"${{{group}" in argument for argument in arguments)


def _check_key(key: str, config: DictConfig) -> None:
    if key.startswith("hydra.") and not key.startswith("hydra.launcher."):
        return
    try:
        known = OmegaConf.is_missing(config, key) or key in set(_keys(config))
    except OmegaConfBaseException:
        known = False
    if not known:
        raise UserError(f"There is no key {key}: {_hint(key, config)}")


def _hint(key: str, config: DictConfig) -> str:
    """Say what was probably meant; else what there is in its place."""
    group, _, name = key.rpartition(".")
    keys = [k for k in _keys(config) if k.startswith("hydra.launcher.") or k.partition(".")[0] != "hydra"]
    alias = ALIASES.get(_plain(name))
    if alias in ADDED and alias not in keys:
        return f"{ADDED[alias]}add it, +{alias}=..."
    last = {k: k.rpartition(".")[2] for k in keys}
    siblings = [k for k in keys if k.rpartition(".")[0] == group]
    same = [k for k in keys if _plain(last[k]) == _plain(name)]
    near = _near(name, [last[k] for k in siblings])
    guesses = (
        [k for k in same if k in siblings],
        [alias] if alias in keys else [],
        same,
        sorted((k for k in siblings if last[k] in near), key=lambda k: near.index(last[k])),
        [] if siblings and group else _near(key, keys),
        [] if siblings and group else [k for k in keys if last[k] in _near(name, last.values(), 0.75)],
    )
    if guess := next(filter(None, guesses), None):
        return f"did you mean {' or '.join(guess[:3])}?"
    listed = [k for k in siblings if not last[k].startswith("_")]
    if siblings and not listed:
        return f"this {group} has no settings."
    return f"known here: {', '.join(listed or map(str, config))}."


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _values(override: Override) -> Iterator[str]:
    if override.is_sweep_override():
        yield from override.sweep_string_iterator()
    elif isinstance(override.value(), list):
        yield from map(str, override.value())
    elif override.value() is not None:
        yield str(override.value())


def _first(override: Override) -> str:
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator(), 'null')}"
    return override.input_line


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        name = f"{prefix}{key}"
        yield name
        if not OmegaConf.is_missing(config, key) and isinstance(config._get_node(key), DictConfig):
            node = config._get_node(key)
            if not node._is_none():
                yield from _keys(node, f"{name}.")


def _near(word: str, words: Iterable[str], cutoff: float = 0.6) -> list[str]:
    return difflib.get_close_matches(word, list(words), n=3, cutoff=cutoff)
