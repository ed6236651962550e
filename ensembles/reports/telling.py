"""What tells runs apart, and which of them differ in their seed alone. Imports no torch."""

import re
from collections.abc import Mapping, Sequence

import yaml

from ensembles.reports.gathered import Found

MOST = 6  # settings in the table of runs
FIRST = ("method.", "model", "recipe.")  # the settings shown when there are more
LISTED = re.compile(r"[\w.+]+=[^\s\[{]*,")  # an override with several values


def settings(run: Found) -> Mapping:
    try:
        found = yaml.safe_load(run.config)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def differing(runs: Sequence[Found]) -> list[str]:
    """The dotted settings, other than the seed, in which runs with a config differ; at most `MOST`."""
    flat = [flattened(settings(run)) for run in runs if settings(run)]
    keys = [key for key in dict.fromkeys(key for one in flat for key in one) if key != "seed"]
    apart = [key for key in keys if len({repr(one.get(key)) for one in flat}) > 1]
    if len(apart) > MOST:
        apart = [key for prefix in FIRST for key in apart if key.startswith(prefix)]
    return apart[:MOST]


def flattened(mapping: Mapping, prefix: str = "") -> dict[str, object]:
    found = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def but_for_seed(run: Found) -> str:
    """Equal for runs that differ in their seed alone; by the command where there is no config."""
    known = {key: value for key, value in settings(run).items() if key != "seed"}
    if known:
        return repr(sorted(known.items()))
    words = [word for word in str(run.provenance.get("command", "")).split() if "=" in word]
    words = sorted(word for word in words if not word.startswith(("seed=", "trainer.progress=")))
    if not words or any(LISTED.match(word) and not word.startswith("method=") for word in words):
        return run.name  # which of the values is this run's is not known
    return f"{stem(run)} {' '.join(word for word in words if not word.startswith('method='))}"


def stem(run: Found) -> str:
    """The run's name without the digits that tell its settings."""
    return re.sub(r"-[0-9a-f]{8}$", "", run.name)


def data(run: Found) -> str:
    """The data set, with its folder and the number of training images where they are known."""
    known = settings(run).get("data")
    if isinstance(known, dict):
        apart = {key: known[key] for key in ("root", "train_size") if known.get(key) is not None}
    else:
        apart = dict(re.findall(r"\bdata\.(root|train_size)=(<[^>]*>|\S+)", str(run.provenance.get("command", ""))))
    about = ", ".join(f"{key}={value}" for key, value in sorted(apart.items()))
    name = run.name.partition("-")[0]
    return f"{name} ({about})" if about else name
