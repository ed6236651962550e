"""Every method on several networks. A new method joins by its file in configs/method."""

import copy
from functools import cache

import torch
from hydra import compose

from ensembles import build
from ensembles.cli.composing import checked, composing
from ensembles.recipes import CONFIGS

METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
NETWORKS = {
    "small_cnn": ["model=small_cnn"],
    "wrn": ["model=wrn", "model.depth=16"],
    "resnet18": ["model=resnet18", "model.width=0.125"],
    "ghost": ["model=wrn", "model.depth=16", "model.ghost_batch=4"],
}
# What a method needs to have members that differ, and on a network where no two layers have one shape.
SETTINGS = {"dropout": ["method.samples=3"]}
ON = {("mixture", "small_cnn"): ["method.grouping=flat"]}


@cache
def config(method, model, *overrides):
    given = [
        f"method={method}",
        *NETWORKS[model],
        *SETTINGS.get(method, ()),
        *ON.get((method, model), ()),
        *overrides,
    ]
    with composing():
        return checked(compose("train", given))


def about(method, model, *overrides):
    chosen = config(method, model, *overrides)
    return {"method": chosen["method"], "model": chosen["model"], "num_classes": 10, "in_channels": 1, "image_size": 8}


@cache
def original(method, model, seed):
    torch.manual_seed(seed)
    return build.method(about(method, model))


def built(method, model, seed=0):
    return copy.deepcopy(original(method, model, seed))


def images(size, seed=1):
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
