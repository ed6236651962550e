"""Runs and checkpoints of an earlier version (old_runs.json says which) are found, shown, loaded and evaluated.

Its checkpoints are kept as what they say of their networks, with the weights' names and shapes, not the weights.
"""

import json
from pathlib import Path

import pytest
import torch
import yaml

import ensembles
from ensembles import build
from ensembles.checkpoints import ABOUT
from ensembles.cli.composing import checked
from ensembles.cli.overrides import combinations
from ensembles.reports.runs_table import results
from ensembles.runs import Run

OLD = json.loads(Path(__file__).with_name("old_runs.json").read_text())
QUIET = ("trainer.accelerator=cpu", "runtime.progress=false")
REDRAWN = "model.redraw=bootstrap"  # what networks of other widths began with then


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """The folder of a finished run, without its checkpoints."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs", OLD["run"]["folder"])
    folder.mkdir(parents=True)
    for name, content in OLD["run"].items():
        if name.endswith((".json", ".yaml")):
            (folder / name).write_text(json.dumps(content))  # which is YAML, too
        elif name != "folder":
            (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("name", OLD["networks"])
def test_the_same_command_has_the_same_folder(name):
    ((_, config),) = combinations([*OLD["networks"][name]["arguments"], *QUIET, REDRAWN])
    assert Run.of(checked(config), config.hydra.runtime.choices).folder.name == name


@pytest.mark.parametrize("name", OLD["networks"])
def test_a_checkpoint_fills_todays_network(name, tmp_path):
    old = OLD["networks"][name]
    method = build.method(old["about"])
    state = method.state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == old["weights"]
    torch.save({ABOUT: old["about"], "state_dict": state}, tmp_path / "best.ckpt")
    loaded = ensembles.load(tmp_path / "best.ckpt")
    inputs = torch.rand(2, *method.ensemble.input_shape)
    torch.testing.assert_close(loaded.ensemble(inputs), method.eval().ensemble(inputs))


def test_a_finished_run_is_shown_without_training(old_run, train):
    before = {path.name for path in old_run.iterdir()}
    arguments = OLD["networks"][old_run.name]["arguments"]
    ended = train(*arguments, *QUIET, REDRAWN)
    assert ended.code == 0 and f"Results and plots: {old_run}" in ended.out
    assert f"{100 * OLD['run']['results.json']['test/acc']:.1f}" in ended.out
    assert {path.name for path in old_run.iterdir()} - before <= {"lock"} and len(list(Path("runs").iterdir())) == 1
    (row,) = results("runs").to_dict("records")
    assert row["test/nll"] == OLD["run"]["results.json"]["test/nll"]


def test_its_checkpoint_is_evaluated_as_it_was_trained(old_run, train):
    about = OLD["networks"][old_run.name]["about"]
    torch.save({ABOUT: about, "state_dict": build.method(about).state_dict()}, old_run / "best.ckpt")
    ended = train("train=false", f"ckpt_path={old_run}/best.ckpt", "runs_dir=again", *QUIET)
    assert ended.code == 0, ended.err
    (folder,) = Path("again").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["train_size"] == 100 and config["data"]["corrupted"]["source"] is None
    found = json.loads((folder / "results.json").read_text())
    assert set(found) == set(OLD["run"]["results.json"])
