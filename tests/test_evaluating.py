"""``train=false ckpt_path=...``: a checkpoint is evaluated as what it is."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from ensembles.cli.composing import checked
from ensembles.cli.overrides import combinations
from ensembles.errors import UserError


def composed(*overrides):
    ((_, config),) = combinations(["train=false", *overrides])
    return checked(config), config.hydra.runtime.choices


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's folder, as far as it says what was trained, and its checkpoint's path."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides):
        ((_, config),) = combinations(list(overrides))
        config = checked(config)
        Path("run").mkdir()
        Path("run/config.yaml").write_text(yaml.safe_dump(config))
        about = {
            "method": config["method"],
            "model": config["model"],
            "class_names": ["0", "1"],
            "mean": [0],
            "std": [1],
        }
        about |= {"num_classes": 2, "in_channels": 1, "image_size": 8}
        if "likelihood" in config["data"]:
            about["likelihood"] = config["data"]["likelihood"] | {"target_mean": 5.0, "target_sd": 2.0}
        torch.save({"state_dict": {}, "ensembles": about}, "run/best.ckpt")
        return Path("run/best.ckpt")

    return run


OTHER = ("method=mimo", "method.M=2", "model=small_cnn", "model.width=0.5", "data.classes=[0,1,2,3]", "seed=3")


@pytest.mark.slow
def test_its_own_method_model_and_data_are_evaluated(train):
    settings = ("data.train_size=100", "recipe.epochs=1", "runtime.progress=false", "data.corrupted.source=null")
    assert train(*settings, *OTHER).code == 0
    (path,) = Path("runs").glob("*/best.ckpt")
    ended = train("train=false", f"ckpt_path={path}", "runtime.progress=false", "runs_dir=evaluated")
    assert ended.code == 0, ended.err
    (again,) = Path("evaluated").glob("digits-small_cnn-mimo-*")
    then, now = (json.loads((folder / "results.json").read_text()) for folder in (path.parent, again))
    measured = [key for key in then if not key.startswith("cost/")]
    assert {key: now[key] for key in measured} == {key: then[key] for key in measured}
    ended = train("-m", "train=false", f"ckpt_path={path}", "runtime.progress=false", "runs_dir=evaluated", "seed=3")
    assert ended.code == 0 and len(list(Path("evaluated").glob("digits-*"))) == 1, ended.err


def test_what_is_taken_and_what_the_command_line_decides(run):
    path = run(*OTHER)
    config, choices = composed(f"ckpt_path={path}")
    before = yaml.safe_load((path.parent / "config.yaml").read_text())
    assert {key: config[key] for key in ("method", "model", "data", "seed")} == {
        key: before[key] for key in ("method", "model", "data", "seed")
    }
    assert [choices[group] for group in ("method", "model", "data")] == ["mimo", "small_cnn", "digits"]
    changed, _ = composed(
        f"ckpt_path={path}", "data.corrupted.source=on_the_fly", "seed=1", "method=mimo", "method.M=2"
    )
    assert changed["data"] == before["data"] | {"corrupted": before["data"]["corrupted"] | {"source": "on_the_fly"}}
    assert changed["method"] == before["method"] and changed["seed"] == 1
    other, _ = composed(f"ckpt_path={path}", "data=cifar10")
    assert other["data"]["_target_"].endswith("CIFAR10") and other["data"]["classes"] is None
    assert other["method"] == before["method"]


@pytest.mark.parametrize(
    ("override", "said"),
    {
        "method.M=3": "was trained with method.M=2, and is evaluated as it is: leave method.M out.",
        "method=packed": "is of method=mimo, not of method=packed: leave method=packed out.",
        "model=resnet18": "is of model=small_cnn, not of model=resnet18",
        "model.width=1": "was trained with model.width=0.5",
        "train=true": "needs train=false.",
    }.items(),
)
def test_a_contradiction(run, override, said):
    with pytest.raises(UserError, match=said):
        composed(f"ckpt_path={run(*OTHER)}", override)


def test_a_checkpoint_away_from_its_run_needs_its_data_named(run):
    shutil.copy(run(*OTHER), "away.ckpt")
    with pytest.raises(UserError, match=r"away\.ckpt has no config\.yaml beside it .*: add data=\.\.\."):
        composed("ckpt_path=away.ckpt")
    config, _ = composed("ckpt_path=away.ckpt", "data=digits", "data.classes=[0,1,2,3]")
    assert (config["method"]["M"], config["model"]["width"], config["seed"]) == (2, 0.5, 0)


def test_dropout_can_be_sampled_more_often(run):
    path = run("method=dropout", "method.rate=0.3")
    config, _ = composed(f"ckpt_path={path}", "method=dropout", "method.samples=8")
    assert (config["method"]["rate"], config["method"]["samples"]) == (0.3, 8)


def test_a_likelihood_is_the_checkpoints(run):
    path = run("data=synthetic_regression", "data/likelihood=squared_error", "method=mimo")
    config, choices = composed(f"ckpt_path={path}")
    assert config["data"]["likelihood"]["_target_"] == "ensembles.likelihoods.SquaredError"
    assert config["model"]["_target_"] == "ensembles.backbones.mlp" and choices["data"] == "synthetic_regression"


def test_away_from_its_run_a_likelihood_is_still_the_checkpoints(run):
    """Its targets' scale is no setting; it is read from the checkpoint where that is evaluated."""
    shutil.copy(run("data=synthetic_regression", "data.likelihood.sd=0.5", "method=mimo"), "away.ckpt")
    for data in ("synthetic_regression", "diabetes"):
        config, _ = composed("ckpt_path=away.ckpt", f"data={data}")
        assert config["data"]["likelihood"] == {"_target_": "ensembles.likelihoods.Gaussian", "sd": 0.5}
    config, _ = composed("ckpt_path=away.ckpt", "data=diabetes", "data.likelihood.sd=2")
    assert config["data"]["likelihood"]["sd"] == 2


def test_files_name_no_code(run):
    """Neither a checkpoint nor a config.yaml beside it: both only choose among options and fill in plain values."""
    path = run(*OTHER)
    call = {"_target_": "pathlib.Path.touch", "self": "ran"}
    contents = torch.load(path, weights_only=True)
    about = contents["ensembles"]
    for change in (
        {"method": call},
        {"model": about["model"] | {"width": [call]}},
        {"model": about["model"] | {"width": "${oc.env:HOME}"}},
        {"model": about["model"] | {"width": torch.ones(2)}},
        {"model": None},
    ):
        torch.save(contents | {"ensembles": about | change}, path)
        with pytest.raises(UserError):
            composed(f"ckpt_path={path}")
    torch.save(contents, path)
    file = path.parent / "config.yaml"
    config = yaml.safe_load(file.read_text())
    for change in (call, config["data"] | {"mix": call}, None):
        file.write_text(yaml.safe_dump(config | {"data": change}))
        with pytest.raises(UserError):
            composed(f"ckpt_path={path}")
    file.write_text("a: [")
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        composed(f"ckpt_path={path}")
    assert not Path("ran").exists()
