"""Reading checkpoints: whole, of this architecture, and without running what they carry."""

import pickle
from pathlib import Path

import torch
from torch import nn

from ensembles.errors import UserError, reason

ABOUT = "ensembles"  # the checkpoint's entry that describes how to build its network again


def read(path: str | Path) -> dict:
    """The checkpoint's contents, on the CPU.

    Raises:
        UserError: missing, cut short, not of this project, or carrying anything but numbers and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} carries code or is no checkpoint, so it was not loaded; use one from train.py."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a checkpoint ({reason(error)}); use another one.") from error
    if not isinstance(checkpoint, dict) or ABOUT not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(f"{path} is no checkpoint of this project: it does not say which network it holds.")
    return checkpoint


def load_weights(method: nn.Module, path: str | Path) -> None:
    """Put the checkpoint's weights into a method of the same architecture.

    Raises:
        UserError: what `read` raises, or another architecture; the sentence names what differs.
    """
    checkpoint = read(path)
    try:
        method.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} is a checkpoint of another architecture: {described(checkpoint)}; {reason}") from error


def described(checkpoint: dict) -> str:
    """The settings of the checkpoint's method and model as overrides on a command line."""
    about = checkpoint[ABOUT]
    settings = [
        f"{group}.{key}={value}"
        for group in ("method", "model")
        for key, value in about[group].items()
        if isinstance(value, int | float | str) and key != "_target_"
    ]
    names = (about["method"]["_target_"].rpartition(".")[2], about["model"]["_target_"].rpartition(".")[2])
    return f"it holds {names[0]} on {names[1]} ({', '.join(settings)})"
