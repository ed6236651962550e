"""A search: Optuna chooses a sweep's runs by validation, and its study is taken up again."""

import csv
import json
import signal
import sys
from pathlib import Path

import optuna
import pytest

from ensembles.cli.search import Search
from ensembles.errors import Interrupted
from ensembles.methods import Method
from ensembles.recipes import CONFIGS

METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
SEARCH = ["hydra/sweeper=optuna", "method=packed", "hydra.sweeper.startup_trials=2"]
OWN = {"packed": ["method.alpha", "method.gamma"], "mimo": ["method.rho"], "mixture": ["method.templates"]}
SPACE = ["recipe.optimizer.lr=tag(log,interval(0.001,0.3))", "method.M=1,2"]


@pytest.fixture
def search(tiny):
    return lambda *arguments: tiny("-m", *SEARCH, *SPACE, *arguments)


def trials():
    (path,) = Path("sweeps").glob("*/study.db")
    return optuna.load_study(study_name="search", storage=f"sqlite:///{path}").trials


def test_trials_are_runs_and_the_best_is_told(search):
    ended = search("hydra.sweeper.n_trials=3")
    assert ended.code == 0, ended.err
    done = trials()
    assert len(done) == 3 and "[3 of 3] lr=" in ended.out
    (sweep,) = Path("sweeps").iterdir()
    runs = json.loads((sweep / "index.json").read_text())["runs"]
    for trial, run in zip(done, runs, strict=True):
        config = run["config"]
        assert config["recipe"]["optimizer"]["lr"] == pytest.approx(trial.params["recipe.optimizer.lr"], rel=1e-5)
        assert str(config["method"]["M"]) == trial.params["method.M"] and config["method"]["alpha"] in (1, 2, 3, 4)
        with open(Path(run["folder"]) / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        tested = max(rows, key=lambda row: float(row["val/acc"]))
        assert trial.value == pytest.approx(float(tested["val/nll"]))
    best = min(done, key=lambda trial: trial.value)
    assert (
        f"Best by val/nll, {best.value:.4f}: " in ended.out
        and f"lr={best.params['recipe.optimizer.lr']:.6g}" in ended.out
    )
    command = ended.out.splitlines()[-1]
    assert command.startswith("ensembles train recipe.epochs=2") and "hydra" not in command
    more = search("hydra.sweeper.n_trials=4")
    assert more.code == 0 and len(list(Path("sweeps").iterdir())) == 1
    assert [trial.params for trial in trials()][:3] == [trial.params for trial in done] and len(trials()) == 4


def test_a_study_that_was_interrupted_goes_on_as_if_it_had_not_been(search, monkeypatch, tmp_path):
    began, stops = [], {2}

    def on_fit_start(self):
        began.append(self.recipe)
        if len(began) in stops:
            raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(Method, "on_fit_start", on_fit_start)
    ended = search("hydra.sweeper.n_trials=3", "recipe.epochs=1")
    assert ended.code == 130 and "the same command goes on" in ended.err
    assert [trial.state.name for trial in trials()] == ["COMPLETE", "RUNNING"]
    ended = search("hydra.sweeper.n_trials=3", "recipe.epochs=1")
    assert ended.code == 0 and "[3 of 3]" in ended.out and "[4 of 3]" not in ended.out
    assert len(began) == 4 and [trial.state.name for trial in trials()] == ["COMPLETE"] * 3
    interrupted = [(trial.params, trial.value) for trial in trials()]
    (tmp_path / "apart").mkdir()
    monkeypatch.chdir(tmp_path / "apart")
    assert search("hydra.sweeper.n_trials=3", "recipe.epochs=1").code == 0
    assert [(trial.params, trial.value) for trial in trials()] == interrupted


def test_a_trial_that_cannot_work_is_said_and_the_others_go_on(tiny):
    ended = tiny("-m", *SEARCH, "recipe.batch_size=choice(-1,-2)", "hydra.sweeper.n_trials=2")
    assert ended.code == 1 and ended.err.count("recipe.batch_size is -") == 2
    assert [trial.state.name for trial in trials()] == ["FAIL", "FAIL"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials is 0, but must be an integer of at least 1"),
        (["hydra.sweeper.objective=test/acc"], "hydra.sweeper.objective=test/acc is none: choose by validation"),
        (["train=false", "ckpt_path=x.ckpt"], "nothing is trained with train=false: leave it out"),
        (["data.val_fraction=0"], "chooses by validation: set data.val_fraction above 0"),
        (["method=packed,mimo"], "a search is of one method, so name one"),
        (["recipe.lr=interval(0.1,1)"], "did you mean recipe.optimizer.lr?"),
        (["method.M=interval(3,1)"], "method.M=interval(3,1) is no space"),
        (["hydra/launcher=submitit_local"], "runs its trials one after another here: leave the cluster out"),
        (["search=pakced"], "did you mean packed?"),
        (["hydra.sweeper.n_trails=3"], "n_trails"),
    ],
)
def test_what_is_no_search_is_refused_before_any_run(tiny, arguments, said):
    ended = tiny("-m", *SEARCH, *arguments)
    assert ended.code == 1 and said in " ".join(ended.err.split()), ended.err
    assert not Path("runs").exists()


def test_a_space_without_its_search_is_refused(tiny):
    assert "add that, and -m" in tiny("search=packed").err and "add that, and -m" in tiny("-m", "search=packed").err
    assert "hydra/sweeper=optuna chooses the runs of a multirun: add -m" in tiny("hydra/sweeper=optuna").err


def test_without_optuna_a_sentence_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "needs the package optuna: pip install optuna" in tiny("-m", *SEARCH).err


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_space_of_keys_that_there_are(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"method={method}", "hydra/sweeper=optuna"]
    planned = Search.plan([*words, "model=wrn28_10", "data=cifar10", "recipe.batch_size=64,128"])
    assert {"recipe.optimizer.lr", "recipe.batch_size"} <= planned.space.keys()
    assert planned.settings["objective"] == "val/nll" and all(key in planned.space for key in OWN.get(method, ()))


def test_what_is_given_is_not_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = Search.plan([*SEARCH, "recipe.optimizer.lr=0.1"])
    assert planned.space.keys() == {"method.alpha", "method.gamma"} and "recipe.optimizer.lr=0.1" in planned.fixed
