"""Learning-rate schedules."""

import math

import pytest
import torch

from ensembles.training.recipe import Recipe, cosine, multistep


def recipe(**changes):
    settings = {"epochs": 10, "batch_size": 4, "schedule": multistep([5, 8], 0.1, of=10), "warmup_epochs": 0}
    return Recipe(optimizer=lambda groups: torch.optim.SGD(groups, lr=2.0), **settings | changes)


def rates(recipe, steps):
    parts = recipe.optimizers([{"params": [torch.zeros(1, requires_grad=True)]}], steps)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_multistep_decays_at_the_epochs_named():
    assert rates(recipe(), 20) == pytest.approx([2.0] * 10 + [0.2] * 6 + [0.02] * 4)


def test_milestones_stretch_with_the_epochs():
    assert rates(recipe(epochs=20), 20) == pytest.approx([2.0] * 10 + [0.2] * 6 + [0.02] * 4)


def test_warmup_is_linear_from_zero():
    assert rates(recipe(warmup_epochs=2), 20)[:6] == pytest.approx([0, 0.5, 1, 1.5, 2, 2])


def test_cosine_ends_near_zero():
    seen = rates(recipe(schedule=cosine()), 10)
    assert seen == pytest.approx([1 + math.cos(math.pi * step / 10) for step in range(10)])
