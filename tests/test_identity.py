"""What belongs to a run's identity: all that changes its numbers, and settings that came later at new values only."""

import json

import pytest
from hydra import compose

from ensembles.cli.composing import checked, composing
from ensembles.renamed import FORMER
from ensembles.runs import LATER, decides, identity


def of(*overrides):
    with composing():
        return identity(checked(compose("train", ["data=digits", *overrides])))


NEW = {
    "runtime.keep_every": ("2", "packed"),
    "trainer.deterministic": ("true", "packed"),
    "method.initialisation": ("common", "packed"),
    "method.batches": ("own", "packed"),
    "method.decay_fast": ("true", "batch_ensemble"),
    "method.site": ("residual", "dropout"),
    "method.penalty": ("layers", "mimo"),
    "method.norm_l2": ("3e-4", "mimo"),
    "model.init": ("torch", "deterministic"),
    "model.redraw": ("initialiser", "packed"),
    "model.preactivation": ("false", "deterministic"),
}


def test_every_later_setting_is_tried_here():
    assert {FORMER.get(key, key) for key in NEW} == {
        f"{group}.{key}" for group, values in LATER.items() for key in values
    }


@pytest.mark.parametrize("setting", NEW)
def test_a_later_setting_counts_at_a_new_value_alone(setting):
    value, method = NEW[setting]
    group, key = FORMER.get(setting, setting).split(".")
    old = json.dumps(LATER[group][key])
    run = ["model=wrn", f"method={method}"]
    before, after = of(*run, f"{setting}={old}"), of(*run, f"{setting}={value}")
    assert key not in before[group] and key in after[group]
    if setting != "model.redraw":
        assert of(*run) == before  # the old value is the default


def test_patience_counts_where_there_is_an_end_to_it():
    before, after = of("method=packed"), of("method=packed", "runtime.patience=3")
    assert after == before | {"patience": 3} and decides("runtime.patience")


@pytest.mark.parametrize(
    ("counts", "overrides"),
    [
        (False, ["method=deterministic"]),
        (False, ["method=batch_ensemble"]),
        (False, ["method=deep_ensemble"]),
        (False, ["method=packed", "method.alpha=4", "method.gamma=1"]),
        (False, ["method=mimo", "method.M=1"]),
        (True, ["method=deterministic", "model.width=0.5"]),
        (True, ["method=packed"]),
        (True, ["method=packed", "method.alpha=4", "method.gamma=2"]),
        (True, ["method=mimo"]),
        (True, ["method=naive_multihead"]),
    ],
)
def test_how_layers_are_redrawn_counts_where_layers_are_redrawn(counts, overrides):
    assert (of("model=wrn", *overrides) != of("model=wrn", *overrides, "model.redraw=bootstrap")) is counts
