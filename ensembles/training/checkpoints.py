"""Reading checkpoints: whole, of this architecture, and without running what they carry."""

import pickle
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from ensembles.errors import UserError, reason
from ensembles.runs import Run

ABOUT = "ensembles"  # the checkpoint's entry that describes how to build its network again
FORMAT = 2  # of what a training needs to go on; the weights of every format can be read


def read(path: str | Path, fix: str = "use another one") -> dict:
    """The checkpoint's contents, on the CPU.

    Args:
        fix: what to do where it is damaged.

    Raises:
        UserError: missing, cut short, not of this project, or carrying anything but numbers and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        _check_sums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} carries code or is no checkpoint, so it was not loaded; use one from train.py."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a checkpoint ({reason(error)}); {fix}.") from error
    if not isinstance(checkpoint, dict) or ABOUT not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(f"{path} is no checkpoint of this project: it does not say which network it holds.")
    return checkpoint


def _check_sums(path: Path) -> None:
    """Compare the file's parts with their checksums, since `torch.load` does not."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"its part {damaged} is damaged")


def load_weights(method: nn.Module, path: str | Path, fix: str = "use another one") -> None:
    """Put the checkpoint's weights into a method of the same architecture.

    Raises:
        UserError: what `read` raises, or another architecture; the sentence names what differs.
    """
    put_weights(method, read(path, fix), path)


def put_weights(method: nn.Module, checkpoint: dict, path: str | Path) -> None:
    """The same with the contents of a checkpoint that has been read from ``path``."""
    try:
        method.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} is a checkpoint of another architecture: {described(checkpoint)}; {reason}") from error


def newest(run: Run, method: nn.Module) -> Path | None:
    """The newest sound checkpoint that the run's training can go on from, with a warning of each damaged one.

    Raises:
        UserError: it cannot go on from it, since another version of this project has written it.
    """
    for path, instead in ((run.last, f"from {run.previous.name}, the one before"), (run.previous, "from the start")):
        if not path.exists():
            continue
        try:
            checkpoint = read(path)
        except UserError as error:
            before = instead if path == run.previous or run.previous.exists() else "from the start"
            warnings.warn(f"{str(error).partition(';')[0].rstrip('.')}: training goes on {before}.", stacklevel=1)
            continue
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        unfinished = progress["processed"] < run.config["recipe"]["epochs"]
        if unfinished and checkpoint[ABOUT].get("format") != FORMAT:
            raise UserError(
                f"{path} was written by another version of this program, so training cannot go on from it: "
                "train anew with force=true, which keeps the old run beside the new one."
            )
        put_weights(method, checkpoint, path)
        return path
    return None


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
