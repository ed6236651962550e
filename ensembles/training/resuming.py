"""Whether, and from which checkpoint, a training can go on: its counters, curves, optimiser and schedule."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from packaging.version import InvalidVersion, Version
from pytorch_lightning import Trainer
from torch import Tensor, nn

from ensembles.checkpoints import ABOUT, FORMAT, Mismatch, read_checkpoint, require_same
from ensembles.errors import UserError
from ensembles.runs import Run
from ensembles.training.recipe import Recipe
from ensembles.untrusted import LARGEST, Unfit, entry, integer, number, refusal

COUNT = (0, LARGEST)
OF_SCHEDULE = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "lr_lambdas")
SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}


class Outdated(UserError):
    """A sound checkpoint whose training another version of this program has begun."""


def newest(run: Run, method: nn.Module, trainer: Trainer) -> Path | None:
    """The newest sound checkpoint that the run's training can go on from, with a warning of each damaged one.

    Args:
        trainer: the one that is to go on.

    Raises:
        UserError: it cannot go on from it, since another version of this project has written it, or it is of another
            architecture.
    """
    refused: list[UserError] = []
    found = None
    for path in filter(Path.exists, (run.last, run.previous)):
        try:
            _require_training(run, read_checkpoint(path), method, trainer, path)
        except Outdated:
            raise
        except UserError as error:
            refused.append(error)
            continue
        found = path
        break
    if found is None and (others := [error for error in refused if isinstance(error, Mismatch)]):
        raise others[0]
    on = f"from {found.name}, the one before" if found else "from the start"
    for error in refused:
        said = str(error) if isinstance(error, Mismatch) else str(error).partition(";")[0]
        warnings.warn(f"{said.rstrip('.')}: training goes on {on}.", stacklevel=1)
    return found


def _require_training(run: Run, checkpoint: dict, method: nn.Module, trainer: Trainer, path: Path) -> None:
    """See that a run's training can go on from a checkpoint; of a finished training less must be there."""
    try:
        unfinished = epochs_done(checkpoint) < run.config["recipe"]["epochs"]
        if unfinished and checkpoint[ABOUT].get("format") != FORMAT:
            raise Outdated(
                f"{path} was written by another version of this program, so training cannot go on from it: "
                "train anew with force=true, which keeps the old run beside the new one."
            )
        require_same(method, checkpoint, path)
        require_progress(checkpoint, trainer, unfinished)
        require_optimizer(checkpoint, method)
    except Unfit as error:
        raise refusal(path, error, "train anew with force=true") from error


def epochs_done(checkpoint: dict) -> int:
    """How many epochs of a training lie behind a checkpoint.

    Raises:
        Unfit: it does not say.
    """
    loops = entry(entry(checkpoint, "loops", dict, ""), "fit_loop", dict, "loops.")
    where = "loops.fit_loop.epoch_progress."
    current = entry(entry(loops, "epoch_progress", dict, "loops.fit_loop."), "current", dict, where)
    if not integer(current.get("processed"), *COUNT):
        raise Unfit(f"{where}current.processed is no number of epochs")
    return current["processed"]


def require_progress(checkpoint: dict, trainer: Trainer, unfinished: bool) -> None:
    """See that the counters, the curves and the loss so far are there and of their types.

    Args:
        trainer: one that has not begun, whose counters have the form that is wanted.
        unfinished: that there are epochs left, so that what only they need must be there.

    Raises:
        Unfit: one is not.
    """
    for key in ("epoch", "global_step"):
        if not integer(checkpoint.get(key), *COUNT):
            raise Unfit(f"{key} is no number of them")
    same = _lightning(checkpoint) == pl.__version__
    _require_alike(checkpoint["loops"]["fit_loop"], trainer.fit_loop.state_dict(), "loops.fit_loop", whole=same)
    callbacks = entry(checkpoint, "callbacks", dict, "")
    if unfinished or "Checkpoints" in callbacks:
        best = entry(callbacks, "Checkpoints", dict, "callbacks.").get("best", "")
        if best is not None and not number(best):
            raise Unfit("callbacks.Checkpoints.best is no number")
    if unfinished or "History" in callbacks:
        rows = entry(entry(callbacks, "History", dict, "callbacks."), "rows", list, "callbacks.History.")
        if not all(type(row) is dict and all(_is_cell(*cell) for cell in row.items()) for row in rows):
            raise Unfit("callbacks.History.rows are no rows of numbers")
    if unfinished or "losses" in checkpoint:
        losses = entry(checkpoint, "losses", dict, "")
        if not number(losses.get("sum")) or not integer(losses.get("steps"), *COUNT):
            raise Unfit("losses are no sum and number of steps")
    if "MixedPrecision" in checkpoint:
        scaler = entry(checkpoint, "MixedPrecision", dict, "")
        if scaler.keys() != SCALER or not all(map(number, scaler.values())):
            raise Unfit("MixedPrecision is no state of a gradient scaler")


def _lightning(checkpoint: dict) -> str:
    version = entry(checkpoint, "pytorch-lightning_version", str, "")
    try:
        known = Version(version) >= Version("2.0")
    except InvalidVersion:
        known = False
    if not known:
        raise Unfit("pytorch-lightning_version is none that this program has used")
    return version


def _is_cell(key: object, value: object) -> bool:
    return type(key) is str and type(value) in (int, float)


def _require_alike(value: object, template: object, where: str, whole: bool = True) -> None:
    """See that a value has the template's keys and types; without ``whole`` outer keys may be missing."""
    if isinstance(template, Mapping):
        if type(value) is not dict:
            raise Unfit(f"{where} is no dict")
        for key, child in template.items():
            if key in value:
                _require_alike(value[key], child, f"{where}.{key}")
            elif whole:
                raise Unfit(f"{where}.{key} is missing")
    elif isinstance(template, list):
        if type(value) is not list or len(value) != len(template):
            raise Unfit(f"{where} is no list of {len(template)}")
        for position, (item, child) in enumerate(zip(value, template, strict=True)):
            _require_alike(item, child, f"{where}.{position}")
    elif type(template) is bool or template is None:
        if type(value) is not type(template):
            raise Unfit(f"{where} is no {type(template).__name__}")
    elif isinstance(template, int) and not integer(value, *COUNT):
        raise Unfit(f"{where} is no count")
    elif isinstance(template, float) and not number(value):
        raise Unfit(f"{where} is no number")


def require_optimizer(checkpoint: dict, method: nn.Module) -> None:
    """See that the optimiser's and the schedule's states are those of the method and its recipe.

    Raises:
        Unfit: they are not.
    """
    for key in ("optimizer_states", "lr_schedulers"):
        if len(entry(checkpoint, key, list, "")) != 1 or type(checkpoint[key][0]) is not dict:
            raise Unfit(f"{key} is no list of one dict")
    recipe: Recipe = method.recipe
    made = recipe.optimizers(method.parameter_groups(), steps=1)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"].state_dict()
    state, scheduled = checkpoint["optimizer_states"][0], checkpoint["lr_schedulers"][0]
    wanted = {key: schedule[key] for key in OF_SCHEDULE}
    _require_alike(scheduled, wanted, "lr_schedulers.0")
    _require_alike(scheduled, schedule, "lr_schedulers.0", whole=False)
    where = "optimizer_states.0."
    groups, values = entry(state, "param_groups", list, where), entry(state, "state", dict, where)
    if any(type(key) is str for key in values):
        return  # FSDP names parameters, and compares them itself
    own = optimizer.state_dict()["param_groups"]
    if len(groups) != len(own):
        raise Unfit(f"{where}param_groups are another optimiser's")
    for index, pair in enumerate(zip(groups, own, strict=True)):
        _require_group(*pair, f"{where}param_groups.{index}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    _require_values(values, parameters, recipe)


def _require_group(group: object, own: dict, where: str) -> None:
    if type(group) is not dict or group.get("params") != own["params"]:
        raise Unfit(f"{where} has other parameters")
    for key, value in own.items():
        if key in group and not _same_kind(group[key], value):
            raise Unfit(f"{where}.{key} is a {type(group[key]).__name__}")
        if key not in group and not (value is None or type(value) is bool):  # which torch sets by itself
            raise Unfit(f"{where}.{key} is missing")


def _same_kind(value: object, own: object) -> bool:
    if type(own) in (int, float):
        return number(value)
    if isinstance(own, tuple | list):
        return isinstance(value, tuple | list) and len(value) == len(own) and all(map(_same_kind, value, own))
    return type(value) in (type(own), type(None), bool) if own is None else type(value) is type(own) or value is None


def _require_values(values: dict, parameters: list[nn.Parameter], recipe: Recipe) -> None:
    kept: dict[int, dict[str, object] | None] = {}
    for index, state in values.items():
        where = f"optimizer_states.0.state.{str(index)[:20]}"
        if not integer(index, 0, len(parameters) - 1) or type(state) is not dict:
            raise Unfit(f"{where} belongs to no parameter")
        shape = parameters[index].shape
        if len(shape) not in kept:
            kept[len(shape)] = _kept(recipe, len(shape))
        examples = kept[len(shape)]
        if examples is not None and state.keys() != examples.keys():
            raise Unfit(f"{where} is another optimiser's")
        for key, example in (examples or {}).items():
            _require_value(state[key], example, shape, f"{where}.{key}")


def _kept(recipe: Recipe, dimensions: int) -> dict[str, object] | None:
    """What the recipe's optimiser keeps for a parameter, learned from one step; None where it cannot be told so."""
    parameter = nn.Parameter(torch.ones([2] * dimensions))
    parameter.grad = torch.ones([2] * dimensions)
    try:
        optimizer = recipe.optimizer([{"params": [parameter]}])
        optimizer.step()
    except (TypeError, RuntimeError):  # an optimiser that wants a closure, say
        return None
    return dict(optimizer.state[parameter])


def _require_value(value: object, example: object, shape: torch.Size, where: str) -> None:
    if not isinstance(example, Tensor):
        if type(value) is not type(example):
            raise Unfit(f"{where} is a {type(value).__name__}")
        return
    if not isinstance(value, Tensor) or value.dim() != example.dim():
        raise Unfit(f"{where} is no such tensor")
    if example.dim() == len(shape) and value.shape != shape:
        raise Unfit(f"{where} is {tuple(value.shape)}, but must be {tuple(shape)}")
    if value.is_floating_point() != example.is_floating_point() or not value.isfinite().all():
        raise Unfit(f"{where} holds no finite numbers")
