"""Parameters that are trained otherwise than the recipe says."""

from collections.abc import Iterable

from torch import nn


def apart(module: nn.Module, parameters: Iterable[nn.Parameter], **changes: float) -> list[dict]:
    """Two parameter groups: a module's other parameters, and these with their changes."""
    parameters = list(parameters)
    listed = {id(parameter) for parameter in parameters}
    others = [parameter for parameter in module.parameters() if id(parameter) not in listed]
    return [{"params": others}, {"params": parameters, **changes}]
