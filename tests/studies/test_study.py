"""A study from its plan to its tables, on digits with tiny networks."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import train as trainer
from ensembles import predictions
from ensembles.commands import study as program
from ensembles.errors import UserError
from ensembles.methods.packed import Packed
from ensembles.reports.collected import CollectedRun
from ensembles.reproduction.running import train as in_a_process
from ensembles.studies import collection, report, timing
from ensembles.studies.collection import Collection
from ensembles.studies.study import Study

PLAN = {
    "title": "A small study",
    "experiments": "cifar10",
    "rows": {
        "deterministic": "single network",
        "packed": "Packed-Ensembles",
        "narrow": {"name": "narrow network", "experiment": "deterministic", "settings": {"model.widths": [2, 2, 2]}},
    },
    "curves": {"width": {"x": "width", "lines": {"single network": {0.5: "narrow", 1: "deterministic"}}}},
    "reference": "deterministic",
    "comparisons": [["packed", "deterministic"]],
    "notes": ["Images are of digits."],
    "search": {"recipe.optimizer.lr": [0.1, 0.2], "settings": {"recipe.epochs": 1, "data.val_fraction": 0.1}},
}
TINY = (
    *(
        "data=digits",
        "model.widths=[4,4,4]",
        "model.whiten=false",
        "recipe.epochs=1",
        "data.train_size=100",
        "runtime.progress=false",
    ),
    *("trainer.precision=32", "data.ood_sets=[]", "data.corrupted.size=20", "data.corrupted.severities=[1]"),
)


@pytest.fixture
def study(call, monkeypatch, tmp_path):
    """Call ``python scripts/study.py`` on a tiny study; its runs are made in this process."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small/study.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    trained = []

    def train(arguments):
        trained.append(arguments)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["train.py", *arguments])
            trainer.main()

    monkeypatch.setattr(collection, "train", train)

    def run(*arguments, tiny=TINY):
        trained.clear()
        ended = call(program, "small", *arguments, *tiny)
        return ended, [next(a for a in command if a.startswith("experiment=")) for command in trained]

    return run


def test_what_is_missing_runs_and_what_is_collected_lasts(study):
    Path("small/search.json").write_text('{"packed": {"0.1": {"acc": 0.5, "nll": 1}, "0.8": {"acc": 0.6, "nll": 1}}}')
    ended, trained = study("--seeds", "2", "--rows", "deterministic")
    assert ended.code == 0, ended.err
    assert trained == ["experiment=cifar10/deterministic"] * 2
    ended, trained = study("--seeds", "2", "--rows", "deterministic,packed")
    assert ended.code == 0 and trained == ["experiment=cifar10/packed"] * 2
    runs = json.loads(Path("small/runs.json").read_text())
    assert [(run["row"], run["seed"]) for run in runs] == [
        *(("deterministic", 0), ("deterministic", 1), ("packed", 0), ("packed", 1))
    ]
    one = runs[2]
    assert one["method"] == "Packed" and one["settings"]["model"]["widths"] == [4, 4, 4]
    assert {"commit", "command", "hardware", "seconds"} <= one.keys()
    shutil.rmtree("runs")
    before = {
        path.name: path.read_bytes() for path in Path("small").iterdir() if path.suffix in (".md", ".csv", ".json")
    }
    ended, trained = study("--seeds", "2", "--rows", "deterministic,packed")
    assert ended.code == 0 and not trained
    assert before == {name: (Path("small") / name).read_bytes() for name in before}
    assert_tables(runs)


def assert_tables(runs):
    table = pd.read_csv("small/table.csv").set_index("row")
    accuracies = [100 * run["results"]["test/acc"] for run in runs if run["row"] == "packed"]
    assert table.loc["packed", "acc %"] == pytest.approx(np.mean(accuracies))
    assert table.loc["packed", "acc % std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert table.loc["packed", "acc % low"] <= np.mean(accuracies) <= table.loc["packed", "acc % high"]
    for run in runs:
        with np.load(f"small/images/{run['row']}-{run['seed']}.npz") as file:
            correct = np.unpackbits(file["correct"], count=len(file["log_likelihood"]))
            assert correct.mean() == pytest.approx(run["results"]["test/acc"])
            assert -file["log_likelihood"].astype(float).mean() == pytest.approx(run["results"]["test/nll"], rel=1e-3)
    pair = pd.read_csv("small/comparisons.csv").set_index("measure")
    single = [100 * run["results"]["test/acc"] for run in runs if run["row"] == "deterministic"]
    assert pair.loc["accuracy", "mean"] == pytest.approx(np.mean(accuracies) - np.mean(single))
    text = Path("small/table.md").read_text()
    assert f"{np.mean(accuracies):.2f}" in text and "Packed-Ensembles | single network | 2 |" in text
    assert "Not run yet: narrow network.\n" in text and "\nImages are of digits.\n" in text
    for key, head, scale in (("members_acc", "members' acc %", 100), ("brier", "Brier", 1)):
        measured = [scale * run["results"][f"corrupted/{key}"] for run in runs if run["row"] == "packed"]
        assert table.loc["packed", f"corrupted {head}"] == pytest.approx(np.mean(measured))
    recipe = runs[-1]["settings"]["recipe"]
    trained = f"| Packed-Ensembles | sum | {recipe['epochs']} | {recipe['optimizer']['lr']} (of 0.1, 0.8) |"
    assert trained in text and f"| single network | - | {recipe['epochs']} | {recipe['optimizer']['lr']} |" in text
    assert {path.stem for path in Path("small").glob("*.png")} == {
        *("accuracy_flops", "nll_params", "reliability", "severity", "risk_coverage")
    }


def test_runs_of_other_settings_are_kept_and_stop_the_command(study):
    study("--rows", "deterministic")
    before = Path("small/runs.json").read_text()
    ended, trained = study("--rows", "deterministic", tiny=(*TINY, "recipe.optimizer.lr=0.01"))
    assert ended.code == 1 and not trained
    assert "(recipe.optimizer.lr: 0.8, now 0.01)" in " ".join(ended.err.split())
    assert Path("small/runs.json").read_text() == before


def test_a_row_s_checkpoint_gives_the_same_digits(study, train):
    study("--rows", "packed")
    (run,) = json.loads(Path("small/runs.json").read_text())
    (checkpoint,) = Path("runs").glob("*/last.ckpt")
    same = [word for word in TINY if word.startswith(("data", "trainer"))]
    ended = train("experiment=cifar10/packed", "train=false", f"ckpt_path={checkpoint}", *same, "runs_dir=again")
    assert ended.code == 0, ended.err
    (path,) = Path("again").glob("*/results.json")
    again = json.loads(path.read_text())
    timed = {key for key in again if key in ("cost/images_per_second", "cost/ms_per_image")}
    assert {key: again[key] for key in again.keys() - timed} == {
        key: run["results"][key] for key in run["results"].keys() - timed
    }


@pytest.mark.slow
def test_networks_trained_alone_are_an_ensemble_s_members(study):
    pair = {
        "name": "two networks",
        "experiment": "deep_ensemble",
        "settings": {"method.M": 2},
        "members": "deterministic",
    }
    changed = {"rows": {**PLAN["rows"], "pair": pair}, "comparisons": [["pair", "deterministic"]]}
    Path("small/study.yaml").write_text(yaml.safe_dump({**PLAN, **changed}))
    tiny = [*(word for word in TINY if "corrupted" not in word), "data.corrupted.source=null"]
    assert study("--rows", "pair", "--no-run", tiny=tiny)[0].code == 1  # nothing is collected
    ended, trained = study("--rows", "pair", tiny=tiny)
    assert ended.code == 0, ended.err
    assert trained == ["experiment=cifar10/deterministic"] * 2 + ["experiment=cifar10/deep_ensemble"]
    (run,) = json.loads(Path("small/runs.json").read_text())
    singles = [path.parent for path in Path("runs").glob("*deterministic*/predictions.npz")]
    logits, labels = zip(*(saved_logits(folder) for folder in singles), strict=True)
    mean = np.mean([np.exp(of) / np.exp(of).sum(-1, keepdims=True) for of in logits], axis=0)
    right = mean[np.arange(len(mean)), labels[0]]
    assert run["results"]["test/nll"] == pytest.approx(-np.log(right).mean(), rel=1e-5)
    assert run["settings"]["method"]["checkpoints"] == []
    seconds = [json.loads((folder / "provenance.json").read_text())["seconds"]["train"] for folder in singles]
    assert run["seconds"]["train"] >= sum(seconds)
    for seed in (2, 3):  # of another ensemble
        study("--rows", "deterministic", "--seeds", str(seed + 1), tiny=tiny)
    mean_of_two = np.mean([(of.argmax(-1) == labels[0]).mean() for of in logits])
    (pair,) = pd.read_csv("small/comparisons.csv").query("measure == 'accuracy'")["mean"]
    assert pair == pytest.approx(100 * (run["results"]["test/acc"] - mean_of_two))
    plan = Study.of(Path("small"))
    assert [member.config["seed"] for member in plan.members("pair", 1, tiny)] == [2, 3]
    assert (
        study("--rows", "pair,deterministic", "--seeds", "1", tiny=tiny)[1] == []
    )  # seed 0 of the single network is there


def saved_logits(folder):
    """Read the logits (N, K) of a single network for the test images, and their labels."""
    found = next(of for name, of in predictions.saved(folder / "predictions.npz") if name == "test")
    return found.logits[0].double().numpy(), found.labels.numpy()


@pytest.mark.slow
def test_a_row_s_own_settings_and_a_curve_over_rows(study):
    overrides = [word for word in TINY if not word.startswith("model.widths")]
    ended, trained = study("--rows", "deterministic,narrow", tiny=(*overrides, "model.width=0.1"))
    assert ended.code == 0, ended.err
    assert trained == ["experiment=cifar10/deterministic"] * 2
    runs = {run["row"]: run["settings"]["model"]["widths"] for run in json.loads(Path("small/runs.json").read_text())}
    assert runs == {"deterministic": [64, 256, 256], "narrow": [2, 2, 2]}
    assert Path("small/width.png").stat().st_size > 10_000


@pytest.mark.slow
def test_times_stand_beside_what_was_collected(study, monkeypatch):
    half = (*TINY, "trainer.precision=bf16-mixed")
    study("--rows", "packed", tiny=half)
    fused, loss = [], Packed.loss
    monkeypatch.setattr(Packed, "loss", lambda *a: fused.append(torch.backends.cuda.flash_sdp_enabled()) or loss(*a))
    ended, trained = study("--times", "1", "--rows", "packed", tiny=half)
    assert ended.code == 0 and not trained, ended.err
    assert fused and not any(fused)  # as in training in bf16 on a CPU
    found = json.loads(Path("small/times.json").read_text())
    assert list(found["rows"]) == ["deterministic", "packed"]
    assert found["rows"]["deterministic"] == {"train": 1, "predict": 1, "train_flops": 1, "seen": 1}
    assert 0.2 < found["rows"]["packed"]["train_flops"] < 2
    table = pd.read_csv("small/table.csv").set_index("row")
    assert table.loc["packed", "training time"] == pytest.approx(found["rows"]["packed"]["train"])
    assert "training time" in Path("small/table.md").read_text()


def test_the_search_keeps_what_validation_says(study):
    ended, trained = study("--search", "--rows", "packed")
    assert ended.code == 0, ended.err
    found = json.loads(Path("small/search.json").read_text())
    assert list(found) == ["packed"] and list(found["packed"]) == ["0.1", "0.2"] and len(trained) == 1
    assert 0 <= found["packed"]["0.1"]["acc"] <= 1
    assert study("--search", "--rows", "packed")[1] == []
    Path("small/search.json").write_text("{")
    ended, trained = study("--search", "--rows", "packed")
    assert ended.code == 1 and not trained and "search.json cannot be read" in ended.err


@pytest.mark.parametrize(
    ("arguments", "plan", "said"),
    [
        (["--rows", "pact"], PLAN, "The study has no row pact: there are deterministic, narrow, packed."),
        ([], {**PLAN, "reference": "single"}, "single is none of its rows"),
        ([], {**PLAN, "rows": []}, "rows: Input should be a valid dictionary"),
        ([], "a: [", "cannot be read"),
        (["recipe.optimizer.larning_rate=1"], PLAN, "There is no key recipe.optimizer.larning_rate"),
    ],
)
def test_what_cannot_be_is_one_sentence(study, arguments, plan, said):
    Path("small/study.yaml").write_text(plan if isinstance(plan, str) else yaml.safe_dump(plan))
    ended, trained = study(*arguments)
    assert ended.code == 1 and not trained
    assert said in " ".join(ended.err.split()) and ended.err.startswith("error: ")


def test_a_folder_without_a_plan(call):
    ended = call(program, ".")
    assert ended.code == 1 and "it has no study.yaml" in ended.err


@pytest.mark.slow
def test_two_rows_by_the_program_itself(study, monkeypatch):
    """In processes of their own, in one multirun over two rows."""
    monkeypatch.setattr(collection, "train", in_a_process)
    ended, _ = study("--rows", "deterministic,packed")
    assert ended.code == 0 and len(json.loads(Path("small/runs.json").read_text())) == 2, ended.err


def test_a_plan_without_a_search_is_one_sentence(study):
    Path("small/study.yaml").write_text(yaml.safe_dump({key: PLAN[key] for key in PLAN if key != "search"}))
    ended, trained = study("--search")
    assert ended.code == 1 and not trained and "small/study.yaml has no search" in " ".join(ended.err.split())


@pytest.fixture
def untimed(monkeypatch, tmp_path):
    """Time rows of the tiny plan, of which none is built."""
    monkeypatch.setattr(timing, "_steps", lambda config: ({}, 0.5))
    monkeypatch.setattr(timing, "_flops", lambda steps: 1)
    monkeypatch.setattr(
        timing, "timed", lambda steps, rounds: {(row, step): [1.0] for row in steps for step in timing.WORK.values()}
    )
    monkeypatch.setattr(Study, "run", lambda self, row, seed: SimpleNamespace(config={}))
    return lambda *rows: timing.times(tmp_path, Study.model_validate(PLAN), rows, 1)


def test_times_of_other_rows_are_kept(untimed, tmp_path):
    untimed("narrow")
    path = tmp_path / "times.json"
    found = json.loads(path.read_text())
    assert list(found["rows"]) == ["deterministic", "narrow"]
    found["rows"]["narrow"]["train"] = 0.25
    path.write_text(json.dumps(found))
    untimed("packed")
    rows = json.loads(path.read_text())["rows"]
    assert list(rows) == ["deterministic", "packed", "narrow"] and rows["narrow"]["train"] == 0.25
    path.write_text(json.dumps({**found, "hardware": "an abacus"}))
    with pytest.raises(UserError, match=r"times\.json has times of narrow on an abacus, not on .*: time all rows"):
        untimed("packed")
    untimed("packed", "narrow")


def test_out_of_distribution_sets_are_those_of_the_results(tmp_path):
    results = {f"ood/{name}/max_probability/auroc": 0.5 for name in ("textures", "photos", "svhn")}
    runs = {"packed": {0: CollectedRun(row="packed", seed=0, results=results)}}
    columns = report.further_columns(Collection(tmp_path, runs, {}))
    heads = [column.head for column in columns if column.key.endswith("/auroc")]
    assert heads == ["svhn AUROC %", "photos AUROC %", "textures AUROC %"]
