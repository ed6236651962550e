"""The recipe that a run gets unless it names another, and whose it is: configs/recipes.yaml. Imports no torch."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml
from omegaconf import OmegaConf

INSTALLED = Path(__file__).parent / "configs"
CONFIGS = INSTALLED if INSTALLED.is_dir() else Path(__file__).parents[1] / "configs"  # at the top of a checkout
FILE = CONFIGS / "recipes.yaml"
GROUPS = ("data", "model", "method")


@dataclass(frozen=True)
class Rule:
    """A row of configs/recipes.yaml.

    Attributes:
        data, model, method: patterns of the options' names, any of which matches.
        recipe: the option of ``recipe``.
        paper: that prints the recipe; None where none does.
        about: what the paper prints it for.
        note: what else the paper's row has.
    """

    data: tuple[str, ...]
    model: tuple[str, ...]
    method: tuple[str, ...]
    recipe: str
    paper: str | None
    about: str | None = None
    note: str | None = None

    def matches(self, **options: str) -> bool:
        """Tell whether the options of these groups are among the rule's."""
        return all(any(fnmatchcase(option, p) for p in getattr(self, group)) for group, option in options.items())

    @property
    def whose(self) -> str:
        """Say whose recipe it is, such as "Packed-Ensembles' for ResNet-50 on ImageNet"."""
        if self.paper is None:
            return "not from a paper"
        return f"{self.paper}'{'' if self.paper.endswith('s') else 's'} for {self.about}"


@cache
def rules() -> tuple[Rule, ...]:
    """Read the rows; the first that matches counts, and the last matches everything."""
    return tuple(map(_rule, yaml.safe_load(FILE.read_text(encoding="utf-8"))))


def _rule(row: dict) -> Rule:
    patterns = {group: tuple([row[group]] if isinstance(row[group], str) else row[group]) for group in GROUPS}
    return Rule(**{**row, **patterns})


def rule(data: str, model: str, method: str) -> Rule:
    """Find the rule for these options."""
    options = {"data": str(data), "model": str(model), "method": str(method)}
    return next(found for found in rules() if found.matches(**options))


def recipe_for(data: str, model: str, method: str) -> str:
    """Name the default recipe; the resolver in the defaults list of configs/train.yaml."""
    return rule(data, model, method).recipe


def describe_recipe(chosen: str, data: str, model: str, method: str) -> str:
    """Say a chosen recipe's name, whose it is, what the paper's row has besides, and the default if another.

    Args:
        chosen: the option of ``recipe``.
        data, model, method: the other groups' options.
    """
    default = rule(data, model, method)
    if chosen == default.recipe:
        return f"{chosen}: {default.whose}" + (f"; {default.note}" if default.note else "")
    same = [found for found in rules() if found.recipe == chosen]
    near = [found for found in same if found.matches(data=data, model=model)]
    whose = next((found.whose for found in [*near, *same]), "not from a paper")
    return f"{chosen}: {whose} (the default here is {default.recipe}: {default.whose})"


OmegaConf.register_new_resolver("recipe_for", recipe_for, replace=True)
