"""Whether, and from which checkpoint, a training can go on: its counters, curves, optimiser and schedule."""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytorch_lightning as pl
import torch
from pydantic import Field
from pytorch_lightning import Trainer
from torch import Tensor, nn

from ensembles.checkpoints import ABOUT, FORMAT, Mismatch, read_checkpoint, require_same
from ensembles.errors import UserError
from ensembles.runs import Run
from ensembles.training.recipe import Recipe
from ensembles.untrusted import LARGEST, Schema, Unfit, refusal

OF_SCHEDULE = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "lr_lambdas")
SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
Count = Annotated[int, Field(ge=0, le=LARGEST)]


class _Best(Schema):
    best: float | None
    since_best: Count = 0


class _Rows(Schema):
    rows: list[dict[str, int | Annotated[float, Field(allow_inf_nan=True)]]]


class _Callbacks(Schema):
    checkpoints: _Best = Field(None, alias="Checkpoints")
    history: _Rows = Field(None, alias="History")


class _Losses(Schema):
    sum: float
    steps: Count


class _Progress(Schema):
    version: str = Field(alias="pytorch-lightning_version")
    epoch: Count
    global_step: Count
    loops: dict[str, dict]
    callbacks: _Callbacks
    losses: _Losses = None
    scaler: Annotated[dict[Literal[SCALER], float], Field(min_length=len(SCALER))] = Field(None, alias="MixedPrecision")
    optimizers: Annotated[list[dict], Field(min_length=1, max_length=1)] = Field(alias="optimizer_states")
    schedules: Annotated[list[dict], Field(min_length=1, max_length=1)] = Field(alias="lr_schedulers")


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
        unfinished = epochs_done(checkpoint, trainer) < run.config["recipe"]["epochs"]
        if unfinished and checkpoint[ABOUT].get("format") != FORMAT:
            raise Outdated(
                f"{path} was written by another version of this program, so training cannot go on from it: "
                "train anew with force=true, which keeps the old run beside the new one."
            )
        require_same(method, checkpoint, path)
        lacking = {"losses"} - checkpoint.keys() | {"Checkpoints", "History"} - checkpoint["callbacks"].keys()
        if unfinished and lacking:
            raise Unfit(f"{min(lacking)} is missing")
        _require_optimizer(checkpoint, method)
    except Unfit as error:
        raise refusal(path, error, "train anew with force=true") from error


def epochs_done(checkpoint: dict, trainer: Trainer) -> int:
    """How many epochs of a training lie behind a checkpoint.

    Args:
        trainer: one that has not begun, whose counters have the form that is wanted.

    Raises:
        Unfit: its counters are not there or not of their types.
    """
    _Progress.check(checkpoint, "it")
    version, loop = checkpoint["pytorch-lightning_version"], checkpoint["loops"].get("fit_loop")
    if not re.match(r"[2-9]\.\d", version):
        raise Unfit("pytorch-lightning_version is none that this program has used")
    _require_alike(loop, trainer.fit_loop.state_dict(), "loops.fit_loop", whole=version == pl.__version__)
    if "epoch_progress" not in loop:
        raise Unfit("loops.fit_loop.epoch_progress is missing")
    return loop["epoch_progress"]["current"]["processed"]


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
    elif isinstance(template, int) and not (type(value) is int and 0 <= value <= LARGEST):
        raise Unfit(f"{where} is no count")
    elif isinstance(template, float) and not _is_number(value):
        raise Unfit(f"{where} is no number")


def _require_optimizer(checkpoint: dict, method: nn.Module) -> None:
    """See that the optimiser's and the schedule's states are those of the method and its recipe.

    Raises:
        Unfit: they are not.
    """
    recipe: Recipe = method.recipe
    made = recipe.optimizers(method.parameter_groups(), steps=1)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"].state_dict()
    state, scheduled = checkpoint["optimizer_states"][0], checkpoint["lr_schedulers"][0]
    wanted = {key: schedule[key] for key in OF_SCHEDULE}
    _require_alike(scheduled, wanted, "lr_schedulers.0")
    _require_alike(scheduled, schedule, "lr_schedulers.0", whole=False)
    where = "optimizer_states.0."
    groups, values = state.get("param_groups"), state.get("state")
    if type(groups) is not list or type(values) is not dict:
        raise Unfit(f"{where}param_groups or state is missing")
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


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _same_kind(value: object, own: object) -> bool:
    if type(own) in (int, float):
        return _is_number(value)
    if isinstance(own, tuple | list):
        return isinstance(value, tuple | list) and len(value) == len(own) and all(map(_same_kind, value, own))
    return type(value) in (type(own), type(None), bool) if own is None else type(value) is type(own) or value is None


def _require_values(values: dict, parameters: list[nn.Parameter], recipe: Recipe) -> None:
    kept: dict[int, dict[str, object] | None] = {}
    for index, state in values.items():
        where = f"optimizer_states.0.state.{str(index)[:20]}"
        if type(index) is not int or not 0 <= index < len(parameters) or type(state) is not dict:
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
