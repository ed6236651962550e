"""What models by name have in common."""

from collections.abc import Collection
from difflib import get_close_matches

from ensembles.errors import UserError


def require_known(library: str, name: str, names: Collection[str]) -> None:
    """Raise a UserError with the near matches unless the library has a model of that name."""
    if name not in names:
        near = get_close_matches(name, names)
        hint = f"did you mean {' or '.join(near)}?" if near else "see its list of models."
        raise UserError(f"model.name={name} is no classifier of {library}: {hint}")


def require_trained_numbers(pretrained: bool, width: float, init: str | None) -> None:
    """Raise a UserError where nothing would be left of pretrained weights."""
    if pretrained and width != 1:
        raise UserError("model.pretrained needs the trained width: set model.width=1 or model.pretrained=false.")
    if pretrained and init is not None:
        raise UserError("model.init draws anew what model.pretrained loads: set one of them to null or false.")
