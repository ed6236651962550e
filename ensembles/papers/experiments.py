"""A table's rows as Hydra experiments, so that one multirun of train.py works on all of them, by any launcher."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from ensembles.cli import CONFIGS
from ensembles.files import write_text
from ensembles.papers.tables import Row, Table


def name(table: Table, row: Row) -> str:
    """A row's name as an experiment, such as mimo-table1-04-mimo-m-3."""
    words = "-".join(re.findall(r"[a-z0-9]+", row.name.lower()))
    return f"{table.slug.replace('/', '-')}-{row.number:02d}-{words}"


def write(table: Table, folder: Path) -> dict[int, str]:
    """Write the rows' experiments below a folder that ``--config-dir`` can name; returns their names by row number."""
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    names = {}
    for row in table.rows:
        names[row.number] = name(table, row)
        write_text(folder / "experiment" / f"{names[row.number]}.yaml", _experiment(table, row))
    return names


def _experiment(table: Table, row: Row) -> str:
    groups = [{f"override /{key}": value} for key, value in row.overrides.items() if (CONFIGS / key).is_dir()]
    settings = _nested({key: value for key, value in row.overrides.items() if not (CONFIGS / key).is_dir()})
    config = yaml.safe_dump({"defaults": groups, **settings}, sort_keys=False, allow_unicode=True)
    return f"# @package _global_\n# {table.name}, {table.cites}, row {row.number}: {row.name}\n{config}"


def _nested(settings: Mapping[str, str]) -> dict:
    """The settings with their values read as on the command line, in mappings of mappings."""
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in settings.items()])
    nested: dict = {}
    for override in parsed:
        *path, last = override.key_or_group.split(".")
        where = nested
        for part in path:
            where = where.setdefault(part, {})
        where[last] = _plain(override.value())
    return nested


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    return value if isinstance(value, bool | int | float | None) else str(value)
