"""A trained network evaluated in several ways: nothing that was measured is lost, and nothing is measured twice."""

import csv
import json
from pathlib import Path

import pytest

from ensembles.evaluations import find
from ensembles.methods import Method

CORRUPTED = ("data.corrupted.source=on_the_fly", "data.corrupted.severities=[1]", "recipe.epochs=1")
MANY = (*CORRUPTED, "data.corrupted.types=[contrast,spatter]", "evaluation.save_predictions=true")
FEW = (*CORRUPTED, "data.corrupted.types=[contrast]")


def content(folder):
    names = ("results.json", "provenance.json", "predictions.npz")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name in names or path.suffix == ".png"}


@pytest.fixture(params=["trained here", "of a checkpoint"])
def evaluate(request, tiny, tmp_path):
    """Evaluate the one network; ``network=False`` where there must be results already."""
    which = ()
    if request.param == "of a checkpoint":
        tiny("runs_dir=trained", "recipe.epochs=1")
        (checkpoint,) = Path("trained").glob("*/best.ckpt")
        which = ("train=false", f"ckpt_path={checkpoint}")

    def evaluate(*arguments, network=True):
        with pytest.MonkeyPatch.context() as patch:
            if not network:
                patch.setattr(Method, "test_step", None)
            ended = tiny("recipe.epochs=1", *which, *arguments)
        assert ended.code == 0, ended.err
        return ended.out

    return evaluate


@pytest.mark.slow
def test_what_was_measured_stays(evaluate, plots):
    evaluate(*MANY)
    (run,) = Path("runs").iterdir()
    many = content(run)
    assert "corrupted/contrast/1/acc" in json.loads(many["results.json"]) and len(many) > 4
    evaluate(network=False)  # has all that this asks for
    assert content(run) == many and not (run / "evaluations").exists()

    evaluate("evaluation.restrict_classes=false", "evaluation.save_predictions=true")  # the same keys
    assert "corrupted/contrast/1/acc" not in json.loads((run / "results.json").read_text())
    (kept,) = (run / "evaluations").iterdir()
    assert content(kept) == many
    few = evaluate(*FEW)  # its corrupted/acc is another mean
    assert "corrupted_extra/acc" not in json.loads((run / "results.json").read_text())
    assert len(list((run / "evaluations").iterdir())) == 2 and content(kept) == many
    top = content(run)

    again = evaluate(*MANY, network=False)
    assert str(kept) in again.replace("\n", "") and str(kept) not in few.replace("\n", "")
    evaluate("evaluation.restrict_classes=false", network=False)
    evaluate(network=False)
    assert content(run) == top and content(kept) == many


def test_a_run_of_an_earlier_version_is_finished(evaluate):
    evaluate()
    (run,) = Path("runs").iterdir()
    about = json.loads((run / "provenance.json").read_text())
    (run / "provenance.json").write_text(json.dumps({"evaluation": about["evaluation"]}))
    evaluate(network=False)


def test_a_sweep_over_evaluations_is_done(tiny):
    ended = tiny("-m", "recipe.epochs=1", "evaluation.restrict_classes=true,false")
    assert ended.code == 0, ended.err
    assert len(list(Path("runs").iterdir())) == 1
    (table,) = Path("sweeps").glob("*/table.csv")
    with open(table) as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "done"]


BASE = {"checkpoint": "best", "evaluation": {"save_predictions": False, "temperature_scaling": False}}
SETS = {"ood_sets": ["svhn"], "ood": {"own": ["a", "1"]}, "corrupt": "written", "corrupted_size": 5, "extrapolation": 2}


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        ({}, True),
        ({"data": {**SETS, "ood_sets": []}}, True),
        ({"data": {**SETS, "ood": None}}, True),
        ({"data": {**SETS, "corrupt": None, "corrupted_size": 7}}, True),
        ({"data": {**SETS, "ood_sets": ["svhn", "textures"]}}, False),
        ({"data": {**SETS, "ood": {"own": ["a", "2"]}}}, False),  # the same name for other images
        ({"data": {**SETS, "ood": {"other": ["a", "1"]}}}, False),
        ({"data": {**SETS, "corrupted_size": 7}}, False),
        ({"data": {**SETS, "extrapolation": 3}}, False),
        ({"checkpoint": "last"}, False),
        ({"evaluation": {"save_predictions": False, "temperature_scaling": True}}, False),
        ({"evaluation": {"save_predictions": True, "temperature_scaling": False}}, False),
    ],
)
def test_which_evaluations_serve(tmp_path, wanted, served):
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "provenance.json").write_text(json.dumps({"evaluation": {**BASE, "data": SETS}}))
    assert (find(tmp_path, {**BASE, "data": SETS, **wanted}, {}) is not None) == served


def test_sets_that_are_none_are_told_of(tiny):
    ended = tiny("data.ood=5")
    assert ended.code == 1 and ended.err.strip() == "error: data.ood is 5, but must be {name: path}."
