"""Resuming a training: from which checkpoint, if its counters, curves, optimiser and schedule are whole."""

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
from ensembles.methods import Method
from ensembles.runs import Run
from ensembles.untrusted import LARGEST, Schema, Unfit, refusal

OF_SCHEDULE = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "lr_lambdas")
SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
Count = Annotated[int, Field(ge=0, le=LARGEST)]


class _Best(Schema):
    best: float | None
    since_best: Count = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


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


def checkpoint_to_resume(run: Run, method: Method, trainer: Trainer) -> Path | None:
    """Find the newest sound checkpoint that the run's training can go on from, with a warning of each damaged one.

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


def _require_training(run: Run, checkpoint: dict, method: Method, trainer: Trainer, path: Path) -> None:
    """See that a run's training can go on from a checkpoint; of a finished training less must be there."""
    try:
        unfinished = _epochs_done(checkpoint, trainer) < run.config["recipe"]["epochs"]
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


def _epochs_done(checkpoint: dict, trainer: Trainer) -> int:
    """Count the epochs of a training that lie behind a checkpoint, by counters of the form that a fresh trainer's have.

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
    """See that a value has the template's keys, types and shapes; without ``whole`` outer keys may be missing.

    Raises:
        Unfit: it has not.
    """
    if isinstance(template, Mapping):
        if type(value) is not dict:
            raise Unfit(f"{where} is no dict")
        for key, child in template.items():
            if key in value:
                _require_alike(value[key], child, f"{where}.{key}")
            elif whole:
                raise Unfit(f"{where}.{key} is missing")
    elif isinstance(template, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(template):
            raise Unfit(f"{where} is no list of {len(template)}")
        for position, (item, child) in enumerate(zip(value, template, strict=True)):
            _require_alike(item, child, f"{where}.{position}")
    elif isinstance(template, Tensor):
        if not isinstance(value, Tensor) or value.shape != template.shape:
            raise Unfit(f"{where} is no tensor of shape {tuple(template.shape)}")
        if value.is_floating_point() != template.is_floating_point() or not value.isfinite().all():
            raise Unfit(f"{where} holds no finite numbers")
    elif template is None:
        if value is not None and type(value) is not bool:  # such as foreach, which torch sets by itself
            raise Unfit(f"{where} is a {type(value).__name__}")
    elif type(template) is int:
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise Unfit(f"{where} is no count")
    elif type(template) is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise Unfit(f"{where} is no number")
    elif type(value) is not type(template):
        raise Unfit(f"{where} is no {type(template).__name__}")


def _require_optimizer(checkpoint: dict, method: Method) -> None:
    """See that the optimiser's and the schedule's states are those of the method and its recipe.

    Raises:
        Unfit: they are not.
    """
    own, schedule = _fresh_states(method)
    state, scheduled = checkpoint["optimizer_states"][0], checkpoint["lr_schedulers"][0]
    _require_alike(scheduled, {key: schedule[key] for key in OF_SCHEDULE}, "lr_schedulers.0")
    _require_alike(scheduled, schedule, "lr_schedulers.0", whole=False)
    groups, values = state.get("param_groups"), state.get("state")
    if type(groups) is not list or type(values) is not dict:
        raise Unfit("optimizer_states.0.param_groups or state is missing")
    if any(type(key) is str for key in values):
        return  # FSDP names parameters, and compares them itself
    if len(groups) != len(own["param_groups"]):
        raise Unfit("optimizer_states.0.param_groups are another optimiser's")
    for index, (group, template) in enumerate(zip(groups, own["param_groups"], strict=True)):
        where = f"optimizer_states.0.param_groups.{index}"
        if type(group) is not dict or group.get("params") != template["params"]:
            raise Unfit(f"{where} has other parameters")
        set_by_torch = [key for key, value in template.items() if value is None or type(value) is bool]
        _require_alike(
            group, {key: template[key] for key in template if key in group or key not in set_by_torch}, where
        )
    for index, kept in values.items():
        where = f"optimizer_states.0.state.{str(index)[:20]}"
        if type(index) is not int or index not in own["state"] or type(kept) is not dict:
            raise Unfit(f"{where} belongs to no parameter")
        template = own["state"][index]
        if template is not None and kept.keys() != template.keys():
            raise Unfit(f"{where} is another optimiser's")
        _require_alike(kept, template or {}, where)


def _fresh_states(method: Method) -> tuple[dict, dict]:
    """Give the states of the method's optimiser after a step, and of its schedule, with tensors on the meta device.

    What the optimiser keeps for a parameter is None where it takes no step there: it wants a closure or numbers, say.
    """
    groups = [dict(group) for group in method.parameter_groups()]
    for group in groups:
        group["params"] = [nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in group["params"]]
    try:
        made = method.recipe.optimizers(groups, steps=1)
        for group in made["optimizer"].param_groups:
            if group.get("fused"):
                group["fused"] = False  # the meta device has no such kernels
            for parameter in group["params"]:
                parameter.grad = torch.empty_like(parameter)
        made["optimizer"].step()
        state = made["optimizer"].state_dict()
    except Exception:  # of whatever kind an optimiser raises
        made = method.recipe.optimizers(method.parameter_groups(), steps=1)
        state = made["optimizer"].state_dict()
        state["state"] = {index: None for group in state["param_groups"] for index in group["params"]}
    return state, made["lr_scheduler"]["scheduler"].state_dict()
