"""Parameters that are trained otherwise than the recipe says."""

from torch import nn


def apart(module: nn.Module, *groups: dict, others: dict | None = None) -> list[dict]:
    """Parameter groups of a module: all others, with what differs for them if anything, then these groups."""
    groups = tuple({**group, "params": list(group["params"])} for group in groups)
    listed = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in listed]
    return [{**(others or {}), "params": rest}, *(group for group in groups if group["params"])]
