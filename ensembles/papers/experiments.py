"""A table's rows as Hydra experiments, so that one multirun of train.py works on all of them, by any launcher."""

import re
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ensembles.files import write_text
from ensembles.papers.table import Row, Table
from ensembles.recipes import CONFIGS


def write_experiments(table: Table, folder: Path) -> dict[int, str]:
    """Write the rows' experiments below a folder that ``--config-dir`` can name; returns their names by row number."""
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    names = {}
    for row in table.rows:
        name = "-".join([table.slug.replace("/", "-"), f"{row.number:02d}", *_words(row.name)])
        about = f"# @package _global_\n# {table.name}, {table.cites}, row {row.number}: {row.name}\n"
        text = yaml.safe_dump(config(row), sort_keys=False, allow_unicode=True)
        write_text(folder / "experiment" / f"{name}.yaml", about + text)
        names[row.number] = name  # such as mimo-table1-04-mimo-m-3
    return names


def shipped(table: Table) -> dict[str, Row]:
    """Name the rows of a table as options of ``experiment`` that are always there.

    A name is the table's with the row's block and method, such as packed/table1-c10-r18-packed, and with what else
    tells the rows apart that share these: mimo/table1-deep_ensemble-thin.
    """
    alike: dict[str, list[Row]] = {}
    for row in table.rows:
        alike.setdefault("-".join([table.name, *_words(*row.names[1:]), row.overrides["method"]]), []).append(row)
    named = {}
    for name, rows in alike.items():
        shared = set.intersection(*(set(_words(row.names[0])) for row in rows))
        for row in rows:
            named["-".join([name, *(word for word in _words(row.names[0]) if word not in shared)])] = row
    return named


def config(row: Row) -> dict:
    """Build a row's experiment: a config of the package ``_global_``."""
    groups = {key: value for key, value in row.overrides.items() if (CONFIGS / key).is_dir()}
    parser = OverridesParser.create()
    settings = OmegaConf.create()
    for override in parser.parse_overrides([word for word in row.arguments if word.partition("=")[0] not in groups]):
        OmegaConf.update(settings, override.key_or_group, override.value())
    defaults = [{f"override /{key}": value} for key, value in groups.items()]
    return {"defaults": defaults, **OmegaConf.to_container(settings)}


def _words(*texts: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", " ".join(texts).lower())
