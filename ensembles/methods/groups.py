"""Parameters that are trained otherwise than the recipe says."""

from torch import nn


def apart(module: nn.Module, *groups: dict) -> list[dict]:
    """Parameter groups of a module: its other parameters, then these groups with what differs for them."""
    groups = tuple({**group, "params": list(group["params"])} for group in groups)
    listed = {id(parameter) for group in groups for parameter in group["params"]}
    others = [parameter for parameter in module.parameters() if id(parameter) not in listed]
    return [{"params": others}, *(group for group in groups if group["params"])]
