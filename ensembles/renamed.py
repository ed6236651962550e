"""Settings that have had other names: one map, by which commands, files and runs from before are understood.

A run's folder and provenance are made of the former names, so that what was trained before is found where it is.
"""

from collections.abc import Mapping
from copy import deepcopy

from ensembles.errors import UserError

RENAMED = {  # former name -> present name
    "checkpoint": "test_on",
    "ckpt": "ckpt_path",
    "data.corrupt": "data.corrupted.source",
    "data.corruptions.types": "data.corrupted.types",
    "data.corruptions.severities": "data.corrupted.severities",
    "data.corrupted_size": "data.corrupted.size",
    "data.corrupted_root": "data.corrupted.root",
    **{
        f"trainer.{name}": f"runtime.{name}"
        for name in ("progress", "save_minutes", "keep_every", "compile", "channels_last")
    },
}
FORMER = {present: former for former, present in RENAMED.items()}
REFUSED = {**RENAMED, "data.corruptions": "data.corrupted"}
MIXTURE, AS_NUMBER = "ensembles.methods.Mixture", 1000  # its budget was a number of parameters from here on


def by_former_names(config: Mapping) -> dict:
    """Copy a config with its settings under the names that they had first."""
    found = _moved(config, FORMER)
    if _is_mixture(found):
        number = found["method"].pop("max_params", None)
        found["method"] |= {} if number is None else {"budget": number}
    return found


def by_present_names(config: Mapping) -> dict:
    """Copy a config, from whatever time, with its settings under the names that they have now."""
    found = _moved(config, RENAMED)
    if _is_mixture(found):
        found["method"].setdefault("max_params", None)
        budget = found["method"].get("budget")
        if isinstance(budget, int | float) and budget >= AS_NUMBER:
            found["method"] |= {"budget": 1.0, "max_params": budget}
    return found


def require_present(key: str) -> None:
    """Refuse a former name on the command line.

    Raises:
        UserError: names the present one.
    """
    if key in REFUSED:
        raise UserError(f"There is no key {key} any more: it is called {REFUSED[key]} now.")


def require_all_present(config: Mapping) -> None:
    """Refuse a composed config with a former name, of which by now only a file can be the source.

    Raises:
        UserError: names both.
    """
    for key, present in REFUSED.items():
        group, name = _split(config, key)
        if name in group:
            raise UserError(f"A config file has the key {key}, which is called {present} now: rename it there.")


def _moved(config: Mapping, names: Mapping[str, str]) -> dict:
    found = deepcopy(dict(config))
    for before, after in names.items():
        group, name = _split(found, before)
        if name not in group:
            continue
        value = group.pop(name)
        where = before.rpartition(".")[0]
        if where and not group:
            above, last = _split(found, where)
            del above[last]
        *path, last = after.split(".")
        group = found
        for part in path:
            if not isinstance(group.get(part), dict):
                group[part] = {}
            group = group[part]
        group[last] = value
    return found


def _split(config: Mapping, key: str) -> tuple[Mapping, str]:
    """Find the settings among which a dotted key's last word stands, none where there are none, and this word."""
    *path, last = key.split(".")
    for part in path:
        config = config.get(part)
        if not isinstance(config, Mapping):
            return {}, last
    return config, last


def _is_mixture(config: Mapping) -> bool:
    method = config.get("method")
    return isinstance(method, Mapping) and method.get("_target_") == MIXTURE
