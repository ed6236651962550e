"""Regression end to end: ``python train.py data=synthetic_regression``, and on tables."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import ensembles
from ensembles import build
from ensembles.data import from_datasets
from ensembles.errors import UserError
from ensembles.evaluation import evaluate_again
from ensembles.export import export
from ensembles.recipes import CONFIGS

METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
ON_AN_MLP = {"mixture": ["method.grouping=flat"]}  # no two of its layers have one shape
QUICK = ["data=synthetic_regression", "recipe.epochs=3", "trainer.accelerator=cpu", "runtime.progress=false"]


@pytest.fixture
def regress(train):
    """Call train.py on the regression; returns how it ended and the run's folder."""

    def run(*arguments):
        before = set(Path("runs").glob("*"))
        ended = train(*QUICK, *arguments)
        new = set(Path("runs").glob("*")) - before
        return ended, new.pop() if new else None

    return run


def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_tests_and_is_loaded_again(regress, method):
    ended, folder = regress(f"method={method}", *ON_AN_MLP.get(method, ()), "data.extrapolation=[-0.2,0.7]")
    assert ended.code == 0, ended.err
    found = results(folder)
    wanted = {f"{of}/{m}" for of in ("test", "train", "members", "shift/extrapolation") for m in ("mse", "rmse", "nll")}
    assert wanted <= found.keys() and not any("acc" in key for key in found)
    members = found["members/mse"]
    if len(members) > 1:
        assert sum(members) / len(members) == pytest.approx(found["test/mse"] + found["diversity/variance"])
    assert "RMSE" in ended.out and "outside their interval" in ended.out

    config = yaml.safe_load((folder / "config.yaml").read_text())
    data = build.call(config["data"], batch_size=32)
    data.setup()
    x, y = data.sets["test"].features, data.sets["test"].labels
    model = ensembles.load(folder / "last.ckpt")
    assert (model.predict(x) - y).square().mean().item() == pytest.approx(found["test/mse"], rel=1e-4)
    forecast = model.predict(x[:, 0], details=True)
    torch.testing.assert_close(forecast.members.mean(0), forecast.mean)
    spread = forecast.members.var(0, correction=0) + forecast.member_sd.square().mean(0)
    torch.testing.assert_close(forecast.sd, spread.sqrt())
    assert model.member(0)(x[:4, :, None, None]).shape == (4, 2)


def test_the_best_epoch_has_the_least_validation_nll(regress):
    _, folder = regress("method=deterministic", "data.val_fraction=0.25", "recipe.epochs=12", "recipe.optimizer.lr=0.1")
    header, *rows = [line.split(",") for line in (folder / "metrics.csv").read_text().split()]
    nlls = [float(row[header.index("val/nll")]) for row in rows]
    best = torch.load(folder / "best.ckpt", weights_only=True)
    assert best["epoch"] == nlls.index(min(nlls))


def test_evaluating_again_is_no_new_training(regress, plots):
    """With squared error: there is no NLL. From saved predictions, and with another set to evaluate on."""
    chosen = ["method=mimo", "data/likelihood=squared_error", "evaluation.save_predictions=true"]
    _, folder = regress(*chosen)
    found, trained = results(folder), (folder / "last.ckpt").read_bytes()
    assert "test/mse" in found and "test/nll" not in found
    assert ensembles.load(folder / "last.ckpt").predict(torch.zeros(2), details=True).member_sd is None
    assert {path.name for path in folder.glob("*.png")} == {"predicted.png", "fit.png", "curves.png"}
    (folder / "fit.png").unlink()
    assert evaluate_again(folder, {}) == found
    assert (folder / "fit.png").exists()
    with pytest.raises(UserError, match="temperature_scaling"):
        evaluate_again(folder, {"temperature_scaling": True})
    ended, new = regress(*chosen, "data.extrapolation=[-1,1]")
    assert ended.code == 0 and new is None and "shift/extrapolation/mse" in results(folder)
    assert (folder / "last.ckpt").read_bytes() == trained


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["evaluation.temperature_scaling=true"], "evaluation.temperature_scaling=true is about classes"),
        (["recipe=sgd", "recipe.label_smoothing=0.1"], "recipe.label_smoothing=0.1 is about classes"),
        (["recipe=pe_imagenet"], "recipe.loss=binary_cross_entropy is about classes"),
        (["model=resnet18"], "resnet18 takes images, and this data set has points: set model=mlp"),
        (["method=mixture"], "Nothing of this Sequential would be mixed"),
        (["data.mix=null"], "There is no key data.mix"),
        (["data.ood_sets=[svhn]"], "There is no key data.ood_sets"),
        (["data.likelihood.sd=0"], "data.likelihood.sd is 0"),
        (["data/likelihood=poisson"], "There is no data/likelihood=poisson"),
    ],
)
def test_what_is_about_classes_is_refused_in_a_sentence(regress, arguments, said):
    ended, _ = regress(*arguments)
    assert ended.code == 1 and said in " ".join(ended.err.split())


def test_what_a_regression_cannot_do_is_said(regress, tmp_path):
    ended, folder = regress("method=packed", "method.gamma=2")
    assert "note: gamma = 2 changes nothing" in ended.out
    with pytest.raises(UserError, match="only classifiers are exported"):
        export(folder / "last.ckpt", tmp_path / "x.pt2")
    with pytest.raises(UserError, match=r"points are \(3, 2\), but the network takes \('B', 1\)"):
        ensembles.load(folder / "last.ckpt").predict(torch.zeros(3, 2))


ON_A_TABLE = ["data=diabetes", "recipe.epochs=2", "trainer.accelerator=cpu", "runtime.progress=false"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_that_applies_is_trained_on_a_table(train, method):
    """Results, the loaded network and what is evaluated again are in the target's own unit."""
    settings = ["evaluation.save_predictions=true", "data.split=3"] if method == "packed" else []
    if method == "mixture":
        refused = train(*ON_A_TABLE, f"method={method}")
        assert refused.code == 1 and "Nothing of this Sequential would be mixed" in refused.err
        return
    ended = train(*ON_A_TABLE, f"method={method}", *settings)
    assert ended.code == 0, ended.err
    (folder,) = Path("runs").iterdir()
    found = results(folder)
    assert 40 < found["test/rmse"] < 400 and "test/nll" in found and not any("train/" in key for key in found)
    data = build.call(yaml.safe_load((folder / "config.yaml").read_text())["data"], batch_size=32)
    data.setup()
    test = data.sets["test"]
    rmse = (ensembles.load(folder).predict(test.features) - test.labels).square().mean().sqrt().item()
    assert rmse == pytest.approx(found["test/rmse"], rel=1e-4)
    if method == "packed":
        config = (folder / "config.yaml").read_text()
        assert evaluate_again(folder, {}) == found
        assert (folder / "config.yaml").read_text() == config  # by which the run is found again
        again = train(*ON_A_TABLE[2:], "train=false", f"ckpt_path={folder}", "runs_dir=again")
        assert again.code == 0, again.err
        (other,) = Path("again").iterdir()
        assert results(other)["test/rmse"] == pytest.approx(found["test/rmse"]) and "mlp_50" in other.name


def test_a_checkpoint_on_another_split_is_scaled_as_it_was_trained(train, monkeypatch):
    """Inputs and targets, as the loaded network has them, by the training split that the weights are of."""
    members = []
    monkeypatch.setattr("ensembles.evaluation.save_plots", lambda *arguments: members.append(arguments[-1]))
    assert train(*ON_A_TABLE, "method=mimo", "method.M=2", "data.split=0").code == 0
    assert members == [2]  # over which its loss is summed, as the plot of losses must know
    (folder,) = Path("runs").iterdir()
    ended = train(
        *ON_A_TABLE[2:], "train=false", f"ckpt_path={folder}", "data=diabetes", "data.split=3", "runs_dir=other"
    )
    assert ended.code == 0, ended.err
    (other,) = Path("other").iterdir()
    data = build.call(yaml.safe_load((other / "config.yaml").read_text())["data"], batch_size=32)
    data.setup()
    test, model = data.sets["test"], ensembles.load(folder)
    assert data.split == 3 and model.mean.flatten().tolist() != pytest.approx(data.mean, rel=1e-4)
    rmse = (model.predict(test.features) - test.labels).square().mean().sqrt().item()
    assert results(other)["test/rmse"] == pytest.approx(rmse, rel=1e-5)


def test_a_channels_scale_that_is_written_once_is_all_channels():
    data = from_datasets((torch.zeros(4, 3, 8, 8), torch.arange(4) % 2), (torch.zeros(4, 3, 8, 8), torch.arange(4) % 2))
    build.scale_as_trained(data, {"mean": [0.5], "std": [0.1, 0.2, 0.3], "in_channels": 3})
    x = data.normalise(torch.ones(1, 3, 1, 1))
    torch.testing.assert_close(x.flatten(), 0.5 / torch.tensor([0.1, 0.2, 0.3]))


def test_a_sweep_over_splits_has_means_and_standard_errors(train):
    words = ["data.split=0,1,2", "method=deterministic,packed"]
    ended = train("-m", *ON_A_TABLE, "recipe.epochs=1", *words)
    assert ended.code == 0, ended.err
    values = {}
    for folder in Path("runs").iterdir():
        values.setdefault(folder.name.split("-")[2], []).append(results(folder)["test/rmse"])
    text = " ".join(ended.out.split())
    assert "Mean ± standard error over splits" in text and "RMSE" in text and text.count("3 splits") == 2
    (path,) = Path("sweeps").glob("*/table.csv")
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    of = {(row[header.index("method")], row[header.index("data.split")]): row for row in rows}
    for method, some in values.items():
        column = header.index("test/rmse")
        assert float(of[method, "mean"][column]) == pytest.approx(sum(some) / 3)
        error = torch.tensor(some, dtype=torch.float64).std().item() / 3**0.5
        assert float(of[method, "standard error"][column]) == pytest.approx(error)


def test_a_set_without_its_files_is_refused(train, tmp_path):
    assert "data.name has no value" in train("data=uci").err
    ended = train("data=uci", "data.name=yacht", f"data.root={tmp_path}")
    assert ended.code == 1 and f"There is no {tmp_path}/yacht/data/data.txt" in ended.err
    assert "data.split is -1" in train("data=diabetes", "data.split=-1").err
