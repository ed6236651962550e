"""The config that evaluates a checkpoint: its own method, model and data. Torch is imported only to read it.

What a file says only chooses among the options of the config groups and gives them plain values: it names no code.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from ensembles.errors import UserError
from ensembles.files import load_yaml
from ensembles.renamed import by_present_names
from ensembles.runs import network_file, without_target_scale

NETWORK = ("method", "model")  # a checkpoint says itself what these are; of its data only the run's config.yaml knows
FREE = {"method.samples"}  # a trained network can be evaluated with another value


def compose_as_trained(config: DictConfig, choices: Mapping, overrides: Sequence[str]) -> tuple[DictConfig, Mapping]:
    """Give a config and its groups' choices; where it only evaluates ``ckpt_path``, compose them as that was trained.

    Args:
        config: what the overrides are composed to, while configs can be composed.

    Raises:
        UserError: a checkpoint that cannot be read, that no option is of, or that an override contradicts.
    """
    if not config.ckpt_path or not isinstance(config.ckpt_path, str):  # no path is refused with all other values
        return config, choices
    if config.train:
        raise UserError(f"ckpt_path={config.ckpt_path} is a checkpoint to evaluate, which needs train=false.")
    from ensembles.checkpoints import ABOUT, read_checkpoint

    path = network_file(config.ckpt_path)
    given = {override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))}
    about = read_checkpoint(path)[ABOUT]
    wanted = {group: about[group] for group in NETWORK}
    recorded = _recorded_config(path)
    if recorded and recorded["data"].get("image_size") not in (None, about["image_size"]):
        raise UserError(f"{path} is of images of another size than the config.yaml beside it says: delete that file.")
    if recorded and ("data" not in given or recorded["data"].get("_target_") == config.data.get("_target_")):
        data = dict(recorded["data"])
        likelihood = data.pop("likelihood", None)
        wanted |= {"data": data} | ({"data/likelihood": likelihood} if likelihood else {})
    elif "data" not in given:
        raise UserError(f"{path} has no config.yaml beside it that says what it was trained on: add data=...")
    elif "likelihood" in about and "likelihood" in config.data:
        wanted["data/likelihood"] = without_target_scale(about["likelihood"])
    chosen = [f"{group}={_option(group, settings, choices, given, path)}" for group, settings in wanted.items()]
    others = [text for text in overrides if text.partition("=")[0] not in wanted]
    found = compose("train", [*chosen, *others], return_hydra_config=True)
    for group, settings in wanted.items():
        _put(found, group, settings, given, path)
    found.ckpt_path = str(path)
    if found.model.get("pretrained"):
        found.model.pretrained = False  # all weights are in the checkpoint
    if recorded and "seed" not in given:
        found.seed = recorded["seed"]
    return found, found.hydra.runtime.choices


def _recorded_config(path: Path) -> dict | None:
    """Read the config of the run in whose folder a checkpoint is, if it is in one."""
    from ensembles.untrusted import require_plain

    folder = path.parent.parent if path.parent.name == "epochs" else path.parent
    file = folder / "config.yaml"
    try:
        recorded = load_yaml(file)
        require_plain(recorded["data"], "data")
        if "_target_" in recorded["data"] and isinstance(recorded["seed"], int):
            return by_present_names(recorded)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise UserError(f"{file} cannot be read as a run's config: delete it and add data=...")


def _option(group: str, wanted: dict, choices: Mapping, given: set[str], path: Path) -> str:
    """Find the group's option that a checkpoint's settings are closest to.

    Raises:
        UserError: none calls what the checkpoint names, or the command line has another one.
    """
    distances = {name: len(list(_differences(wanted, option))) for name, option in _alike(group, wanted)}
    if not distances:
        raise UserError(
            f"{path} is of {wanted['_target_']}, which no option of {group} calls: name the folder of its config "
            "with --config-dir."
        )
    nearest = min(distances, key=distances.get)
    if group not in given:
        return nearest
    asked = choices[group]
    if distances.get(asked) == distances[nearest]:
        return asked
    raise UserError(f"{path} is of {group}={nearest}, not of {group}={asked}: leave {group}={asked} out.")


def _alike(group: str, wanted: dict) -> Iterator[tuple[str, dict]]:
    """Compose the options of a group that call the same."""
    loader, place = GlobalHydra.instance().config_loader(), group.replace("/", ".")
    for name in loader.get_group_options(group):
        written = loader.repository.load_config(f"{group}/{name}").config
        calls = OmegaConf.select(written, "_target_") or OmegaConf.select(written, f"{place}._target_")
        if calls in (None, wanted["_target_"]):  # None: what another option that it builds on says
            option = OmegaConf.to_container(OmegaConf.select(_composed(group, name), place))
            if option.get("_target_") == wanted["_target_"]:
                yield name, option


def _composed(group: str, name: str) -> DictConfig:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an option alone is no primary config, of which Hydra wants a _self_
        try:
            return compose(f"{group}/{name}")
        except HydraException:  # overrides other groups' choices, so it stands only in the whole
            return compose("train", [f"{group}={name}"])


def _differences(wanted: dict, option: dict, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Find the settings that are not the option's, as the keys that lead to them, and their values."""
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(option.get(key), dict):
            yield from _differences(value, option[key], (*above, key))
        elif key not in option or value != option[key]:
            yield (*above, key), value


def _put(config: DictConfig, group: str, wanted: dict, given: set[str], path: Path) -> None:
    """Give a group a checkpoint's settings; those of the data give way to the command line.

    Raises:
        UserError: a setting that names code, or that is another one on the command line.
    """
    place = group.replace("/", ".")
    before = OmegaConf.to_container(OmegaConf.select(config, place))
    for keys, value in _differences(wanted, before):
        key = ".".join((place, *keys))
        if key in FREE & given or (group not in NETWORK and key in given):
            continue
        if key in given:
            raise UserError(f"{path} was trained with {key}={value}, and is evaluated as it is: leave {key} out.")
        if _names_code(keys[-1], value):
            raise UserError(
                f"{path} was trained with {key}={value}, which is not taken from a file: give {group}=... yourself."
            )
        node = OmegaConf.select(config, place)
        for name in keys[:-1]:
            node = node[name]
        with open_dict(node):
            node[keys[-1]] = value  # by its key as it is: in a dotted name, a key such as x[y] would lead elsewhere
    if group in NETWORK:
        with open_dict(config):
            for name in before.keys() - wanted.keys() - {key.removeprefix(f"{place}.") for key in given}:
                del config[place][name]  # not there when it was trained


def _names_code(key: str, value: object) -> bool:
    """Tell whether plain data, at their key, can name what is called."""
    if isinstance(value, list):
        return any(_names_code("", item) for item in value)
    inner = value.items() if isinstance(value, dict) else ()
    return (key.startswith("_") and key.endswith("_")) or any(_names_code(*pair) for pair in inner)
