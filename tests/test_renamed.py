"""Renamed settings: what was made by their former names is found, and these are answered with the present ones.

former_names.json was written by commit 5fe5a08, which had the former names.
"""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError
from ensembles.renamed import RENAMED, by_former_names, by_present_names
from ensembles.runs import Run, decides
from ensembles.studies.study import Study, settings

ROOT = Path(__file__).parents[1]
WRITTEN = ROOT / "tests/security/written"
FORMER = json.loads(Path(__file__).with_name("former_names.json").read_text())


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def renamed(command):
    """The words of a command by former names, by the present ones."""
    for word in command.split():
        key, _, value = word.partition("=")
        number = key == "method.budget" and float(value) >= 1000
        yield f"{'method.max_params' if number else RENAMED.get(key, key)}={value}"


def planned(words):
    check(words)
    ((_, config),) = combinations(words)
    return Run.of(checked(config), config.hydra.runtime.choices)


@pytest.mark.parametrize(("command", "folder"), FORMER["folders"])
def test_a_run_is_where_it_was(command, folder):
    assert planned(list(renamed(command))).folder.name == folder


@pytest.mark.parametrize(("command", "evaluation"), FORMER["evaluations"])
def test_an_evaluation_is_kept_as_it_was(command, evaluation):
    assert planned(list(renamed(command))).evaluation == evaluation


def test_what_a_study_records_of_a_row_is_what_it_recorded():
    before = FORMER["row"]  # of mixture in results/cifar10
    assert settings(by_present_names(before["config"])) == before["settings"]
    now = settings(Study.of(Path("results/cifar10")).run("mixture", 3).config)
    assert [now[key].keys() for key in ("method", "data")] == [
        before["settings"][key].keys() for key in ("method", "data")
    ]


@pytest.mark.parametrize("former", RENAMED)
def test_a_former_name_is_answered_with_the_present_one(former):
    for word in (f"{former}=null", f"+{former}=null", f"~{former}"):
        with pytest.raises(UserError) as caught:
            check([word])
        assert str(caught.value) == f"There is no key {former} any more: it is called {RENAMED[former]} now."


def test_a_former_group_and_a_budget_that_is_a_number():
    with pytest.raises(
        UserError, match=r"There is no key data\.corruptions any more: it is called data\.corrupted now"
    ):
        check(["data.corruptions={types: all}"])
    with pytest.raises(UserError, match=r"method\.budget is 36500000, .*: max_params is their number"):
        planned(["method=mixture", "method.budget=36500000"])


@pytest.mark.parametrize(
    ("file", "text", "word", "former"),
    [
        ("experiment/mine", "# @package _global_\ncheckpoint: last\n", "experiment=mine", "checkpoint"),
        ("data/mine", "defaults: [digits]\ncorruptions: {types: all}\n", "data=mine", "data.corruptions.types"),
        ("data/mine", "defaults: [digits]\ncorruptions: null\n", "data=mine", "data.corruptions"),
        ("trainer/mine", "defaults: [default]\ncompile: true\n", "trainer=mine", "trainer.compile"),
    ],
)
def test_a_former_name_in_a_file_of_the_users_own(tmp_path, file, text, word, former):
    path = tmp_path / f"{file}.yaml"
    path.parent.mkdir()
    path.write_text(text)
    check([word], str(tmp_path))
    ((_, config),) = combinations([word], str(tmp_path))
    with pytest.raises(UserError, match=rf"A config file has the key {former}, which is called [\w.]+ now: rename it"):
        checked(config)


@pytest.mark.parametrize("run", ["digits", "synthetic"])
def test_a_config_from_before_has_all_its_settings_by_present_names(run):
    before = yaml.safe_load((WRITTEN / run / "config.yaml").read_text())
    assert before["checkpoint"] == "best" and before["trainer"]["save_minutes"] == 10
    now = by_present_names(before)
    assert now["test_on"] == "best" and now["runtime"]["save_minutes"] == 10
    assert set(now["trainer"]).isdisjoint(now["runtime"]) and "checkpoint" not in now
    if run == "digits":
        assert now["data"]["corrupted"] == {
            "source": before["data"]["corrupt"],
            **before["data"]["corruptions"],
            **{name: before["data"][f"corrupted_{name}"] for name in ("size", "root")},
        }
        assert not {"corrupt", "corruptions", "corrupted_size", "corrupted_root"} & set(now["data"])
    assert by_former_names(now) == before and by_present_names(now) == now


def test_the_budget_of_a_config_from_before_is_a_factor_or_a_number():
    method = {"_target_": "ensembles.methods.Mixture", "M": 4}
    for budget, factor, number in ((0.411, 0.411, None), (15_000_000, 1.0, 15_000_000)):
        now = by_present_names({"method": {**method, "budget": budget}})["method"]
        assert (now["budget"], now["max_params"]) == (factor, number)
        assert by_former_names({"method": now})["method"] == {**method, "budget": budget}
    other = {"method": {"_target_": "mine.Method", "budget": 5000, "max_params": 7}}
    assert by_present_names(other) == by_former_names(other) == other


def test_a_finished_run_from_before_is_shown_and_not_made_again(train, tmp_path):
    words = [*("model=mlp", "model.width=0.25", "model.redraw=bootstrap", "method=packed", "method.M=2")]
    words += [*("data.corrupted.source=null", "data.train_size=100", "recipe.epochs=2")]
    words += [*("evaluation.save_predictions=true", "runtime.progress=false", f"runs_dir={tmp_path / 'runs'}")]
    folder = planned(words).folder
    shutil.copytree(WRITTEN / "digits", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ended = train(*words)
    assert ended.code == 0 and "Test set" in ended.out, ended.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_decides_a_run_is_told_by_present_names():
    assert decides("runtime.keep_every") and decides("test_on") and decides("data.corrupted.size")
    assert not decides("runtime.progress") and not decides("data.corrupted.root")
