"""``python train.py`` as a user types it."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from tests.conftest import only

METHODS = ["deterministic", "deep_ensemble", "packed", "mimo"]


def results(run):
    values = json.loads((run / "results.json").read_text())
    return {key: value for key, value in values.items() if key not in ("cost/images_per_second", "cost/ms_per_image")}


def weights(run, name="last.ckpt"):
    return torch.load(run / name, weights_only=True)["state_dict"]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_tests_and_reports(tiny, method):
    ended = tiny(f"method={method}")
    assert ended.code == 0, ended.err
    run = only(f"digits-small_cnn-{method}-*")
    assert "Results and plots" in ended.out and str(run) in ended.out
    found = results(run)
    for key in ("test/acc", "test/nll", "test/ece", "test/brier", "ood/photos/max_probability/auroc", "cost/params"):
        assert isinstance(found[key], int | float)
    assert len(found["members/acc"]) == {"deterministic": 1, "mimo": 3}.get(method, 4)
    assert ("diversity/disagreement" in found) == (method != "deterministic")
    for name in ("config.yaml", "provenance.json", "metrics.csv", "best.ckpt", "last.ckpt"):
        assert (run / name).stat().st_size > 0
    with open(run / "metrics.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_a_finished_run_shows_its_results_without_training(tiny, plots):
    first = tiny()
    run = only("*")
    names = {"confidence", "confusion", "curves", "disagreement", "members", "ood_roc", "reliability", "risk_coverage"}
    assert {path.stem for path in run.glob("*.png")} == names
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    again = tiny("trainer.devices=1", "data.eval_batch_size=100")  # neither changes what is computed
    assert again.code == 0 and again.out.splitlines()[-5:] == first.out.splitlines()[-5:]
    assert before == {path.name: path.stat().st_mtime_ns for path in run.iterdir()}


def test_the_same_seed_gives_the_same_results_bit_for_bit(tiny):
    tiny()
    run = only("*")
    first, first_weights = results(run), weights(run)
    assert tiny("force=true").code == 0
    assert results(run) == first
    assert all(torch.equal(value, weights(run)[key]) for key, value in first_weights.items())
    assert results(Path(f"{run}.previous")) == first
    tiny("seed=1")
    other = next(path for path in Path("runs").glob("digits-*") if path.name.partition(".")[0] != run.name)
    assert results(other) != first


@pytest.mark.parametrize("method", ["deep_ensemble", "mimo"])
def test_an_interrupted_run_resumes_to_the_same_end(tiny, method, monkeypatch):
    arguments = (f"method={method}", "recipe.epochs=3")
    tiny(*arguments)
    run = only("*")
    undisturbed, undisturbed_weights = results(run), weights(run)

    from ensembles.methods import Method

    step = Method.training_step
    stop = {"in": 8}

    def dies(self, batch):
        stop["in"] -= 1
        if stop["in"] == 0:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Method, "training_step", dies)
        assert tiny(*arguments, "force=true").code != 0
    assert not (run / "results.json").exists()
    saved = torch.load(run / "last.ckpt", weights_only=True)
    saved["callbacks"]["Checkpoints"]["seconds"] += 1000
    torch.save(saved, run / "last.ckpt")
    assert tiny(*arguments).code == 0
    assert json.loads((run / "provenance.json").read_text())["seconds"]["train"] > 1000  # of both parts
    assert results(run) == undisturbed
    assert all(torch.equal(value, weights(run)[key]) for key, value in undisturbed_weights.items())
    assert len((run / "metrics.csv").read_text().splitlines()) == 4


def test_last_checkpoint_is_tested_on_request_and_without_validation(tiny):
    tiny("recipe.epochs=4")
    run = only("*")
    best = results(run)
    assert tiny("recipe.epochs=4", "test_on=last").code == 0  # evaluated again, not trained again
    assert json.loads((run / "provenance.json").read_text())["evaluation"]["checkpoint"] == "last"
    assert set(results(run)) == set(best)
    assert tiny("data.val_fraction=0", "runs_dir=other").code == 0
    assert not (only("*", "other") / "best.ckpt").exists()


def test_a_checkpoint_is_evaluated_to_the_same_numbers(tiny):
    tiny()
    run = only("*")
    ended = tiny("train=false", f"ckpt_path={run / 'best.ckpt'}", "runs_dir=evaluated")
    assert ended.code == 0, ended.err
    assert results(only("*", "evaluated")) == results(run)


@pytest.mark.slow
def test_runs_trained_apart_make_an_ensemble(tiny):
    for seed in (0, 1):
        tiny("method=deterministic", f"seed={seed}", f"runs_dir=seed{seed}")
    paths = [str(only("*/best.ckpt", f"seed{seed}")) for seed in (0, 1)]
    ended = tiny("method=deep_ensemble", f"method.checkpoints=[{','.join(paths)}]", "runs_dir=together")
    assert ended.code == 0, ended.err
    found = results(only("*", "together"))
    assert found["members/acc"] == [results(Path(path).parent)["test/acc"] for path in paths]


def test_a_sweep_ends_with_one_table(tiny):
    ended = tiny("-m", "method.M=2,4", "method.alpha=1,2")
    assert ended.code == 0, ended.err
    told = [line for line in ended.out.splitlines() if line.startswith("[")]
    assert [line.partition(": ")[0] for line in told] == [
        *("[1 of 4] M=2, alpha=1", "[2 of 4] M=2, alpha=2"),
        *("[3 of 4] M=4, alpha=1", "[4 of 4] M=4, alpha=2"),
    ]
    assert re.search(r": accuracy \d+\.\d %, NLL \d\.\d{3}, ECE \d\.\d{3}, members \d+\.\d %$", told[0])
    assert "Test set" not in ended.out and "recipe digits" not in ended.out  # of a run alone
    table = only("*/table.csv", "sweeps")
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert [(row["method.M"], row["method.alpha"]) for row in rows] == [("2", "1"), ("2", "2"), ("4", "1"), ("4", "2")]
    assert all(row["status"] == "done" and 0 <= float(row["test/acc"]) <= 1 for row in rows)
    assert len(list(Path("runs").iterdir())) == 4
    tiny("method.M=2", "method.alpha=2")
    assert len(list(Path("runs").iterdir())) == 4  # the sweep's own run, found again


def test_a_failed_run_does_not_stop_a_sweep(tiny):
    ended = tiny("-m", "recipe.optimizer.lr=1e18,0.1")
    assert ended.code == 1
    assert "recipe.optimizer.lr" in ended.err
    with open(only("*/table.csv", "sweeps")) as file:
        assert [row["status"].partition(":")[0] for row in csv.DictReader(file)] == ["failed", "done"]


def test_classes_left_out_are_near_ood(tiny):
    tiny("data.classes=[0,1,2,3,4]")
    assert 0 <= results(only("*"))["ood/left_out/entropy/auroc"] <= 1


@pytest.mark.slow
def test_any_convolutional_network_by_name(tiny):
    assert tiny("method=mimo", "model=timm", "model.name=resnet10t", "data.image_size=32", "recipe.epochs=1").code == 0
    vit = ("model=timm", "model.name=test_vit", "model.kwargs={depth: 2, patch_size: 8}", "data.image_size=16")
    assert tiny("method=batch_ensemble", *vit, "recipe.epochs=1").code == 0
    assert tiny("method=packed", "model=torchvision", "model.name=mobilenet_v3_small", "recipe.epochs=1").code == 0


def test_two_processes_report_what_one_does(tiny):
    """From a plain command and inside a multirun; 359 test images (one class left out) do not divide by two."""
    arguments = ("data.classes=[0,1,2,3,4,5,6,7,8]", "recipe.epochs=1", "method=mimo")
    arguments += ("evaluation.temperature_scaling=true", "evaluation.save_predictions=true")
    tiny(*arguments)
    one = results(only("*"))
    two = ("trainer.devices=2", "strategy=ddp")
    ended = tiny(*arguments, *two, "runs_dir=two", "sweeps_dir=two/sweeps", "-m", "seed=0")
    assert ended.code == 0, ended.err
    found = results(only("digits-*", "two"))
    assert set(found) == set(one)
    for key, value in one.items():  # trained apart: their sums round apart
        assert found[key] == pytest.approx(value, abs=1e-2 if key.startswith("scaled/") else 1e-3), key
    checkpoint = only("*/best.ckpt")
    ended = tiny(*arguments, *two, "train=false", f"ckpt_path={checkpoint}", "runs_dir=evaluated")
    assert ended.code == 0, ended.err
    for key, value in results(only("digits-*", "evaluated")).items():
        assert value == pytest.approx(one[key], abs=1e-6), key
