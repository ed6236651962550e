"""``python scripts/reproduce.py`` as a user types it."""

import csv
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ensembles import papers
from ensembles.cli.composing import checked
from ensembles.cli.overrides import combinations
from ensembles.commands import reproduce as script
from ensembles.papers import experiments
from ensembles.papers.scales import Scale, scale
from ensembles.reproduction import running, work
from ensembles.reproduction.running import plan
from ensembles.reproduction.work import GPU, duration
from ensembles.runs import Run

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_table_runs_what_is_missing_and_shows_all_of_it(reproduce):
    quick = ("--scale", "smoke", "runtime.progress=false", "trainer.accelerator=cpu", "data.corrupted.source=null")
    code, out, err = reproduce("mimo/diversity", "--only", "MIMO", "--only", "1", *quick)
    assert code == 0, err  # the two rows are done
    assert "SMOKE-OWN SCALE, not the paper's setting" in out and "MIMO" in out and "missing" not in out
    with open("results/mimo/diversity-smoke-own.csv") as file:
        cells = {(line["Method"], line["column"]): line for line in csv.DictReader(file)}
    assert {method for method, _ in cells} == {row.name for row in papers.load("mimo/diversity").rows}
    assert float(cells["MIMO", "Disagreement"]["measured"]) >= 0 and cells["MIMO", "Disagreement"]["seeds"] == "1"
    assert cells["TreeNet", "Disagreement"]["status"] == "missing"
    for suffix in ("txt", "md", "html", "json"):
        assert "SMOKE-OWN SCALE" in Path(f"results/mimo/diversity-smoke-own.{suffix}").read_text() or suffix == "json"
    (run,) = json.loads(Path("results/mimo/diversity-smoke-own.json").read_text())["lines"][3]["runs"]
    assert run["provenance"]["seed"] == 0 and run["provenance"]["command"].startswith("python train.py -m")
    before = len(reproduce.called)
    code, out, _ = reproduce("mimo/diversity", "--only", "MIMO", *quick)
    assert len(reproduce.called) == before and "MIMO" in out and "missing" not in out  # nothing is run again


def test_a_multirun_runs_the_configurations_that_the_rows_name(tmp_path):
    """What one multirun makes of a row's experiment is what the row's overrides are on the command line."""
    for name, number, at in (("packed/table1", 33, "full"), ("mixture/table2", 6, "full"), ("mimo/table2", 4, "smoke")):
        table = scale(at).applied(papers.load(name))
        table = replace(table, rows=table.rows[number - 1 : number])
        (planned,) = plan(table, 1)
        names = experiments.write_experiments(table, tmp_path)
        ((_, config),) = combinations([f"experiment={names[number]}"], str(tmp_path))
        choices = config.hydra.runtime.choices
        del config.hydra
        run = Run.of(checked(config), choices)
        assert (run.folder, run.evaluation) == (planned.runs[0].folder, planned.runs[0].evaluation)


def test_dry_run_shows_commands_that_compose(reproduce, monkeypatch):
    code, out, _ = reproduce("mixture/table1", "--dry-run", "--seeds", "2", "data.root=elsewhere")
    lines = [line for line in out.splitlines() if line.startswith("ensembles train")]
    assert code == 0 and len(lines) == 7 and "# 0 of 7 rows are done" in out
    assert "# 5 MixtureEnsembles, 36.5M (experiment=mixture/table1-mixture-36-5m)" in out
    words = shlex.split(lines[4])
    assert words[:3] == ["ensembles", "train", "-m"] and words[-2:] == ["seed=0,1", "data.root=elsewhere"]
    ((varied, config), _) = combinations(words[3:])
    assert varied == {"seed": "0"} and config.method.budget == 1.0 and config.model.ghost_batch == 64
    assert not reproduce.called and not Path("results").exists()


def test_list_shows_all_tables_and_what_they_need(reproduce, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = reproduce("--list")
    assert code == 0 and all(name in out for name in papers.names())
    assert "cifar10-C" in out and "objectnet" in out and "assumed" in out and "H100" in out
    assert "?" not in out
    code, out, _ = reproduce("--list", "--scale", "small")
    assert code == 0 and "15 of 36 rows with the runs of results/cifar10" in out and "H100" not in out


def test_every_table_has_been_counted():
    for name in papers.names():
        assert len(work.counts()[name]) == len(papers.load(name).rows), name


def test_work_is_counted_from_the_networks():
    """A ResNet-18 on CIFAR-10: 0.5558 G multiply-adds an image, in training of 45,000 images 75 times, 128 a step."""
    table = papers.load("packed/table1")
    (first,) = plan(replace(table, rows=table.rows[:1]), 1)
    counted = work.count(first)
    assert counted.multiply_adds == pytest.approx(0.5558e9 * (3 * 45_000 * 75 + 10_000), rel=1e-3)
    assert counted.steps == 351 * 75
    assert work.counts()["packed/table1"][0] == pytest.approx(counted, rel=0.01)
    assert counted.hours(GPU) == pytest.approx((counted.multiply_adds / 1e13 + 263.25) / 3600)


def test_small_steps_take_time_too():
    """Of a run of Figure 2, 2,000 epochs of two steps, and of 100 networks that are trained at once for the drawing."""
    assert work.counts()["mimo/figure2"] == [(0, 6 * 4000)] * 5
    assert work.hours(papers.load("mimo/figure2"), 1, GPU) == pytest.approx(5 * 240 / 3600)


@pytest.mark.parametrize(
    ("hours", "text"), [(None, "? h"), (0.0001, "under 1 min"), (0.2, "12 min"), (1.23, "1.2 h"), (12345.6, "12,346 h")]
)
def test_durations_are_shown_in_words(hours, text):
    assert duration(hours) == text


@pytest.mark.parametrize("arguments", [["--help"], ["--list"], ["mimo/table4", "--dry-run"]])
def test_torch_is_not_imported(tmp_path, arguments):
    (tmp_path / "reproducing.py").write_text(f"""
import sys
from ensembles.commands import reproduce
sys.argv[1:] = {arguments}
try:
    reproduce.main()
except SystemExit:
    sys.exit("torch" in sys.modules)
""")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "reproducing.py"], cwd=tmp_path, env=environment, capture_output=True)
    assert ended.returncode == 0 and ended.stdout, ended.stderr


def test_fewer_finished_runs_never_replace_more(planned, finish, tmp_path, capfd):
    for name in ("packed/figure1", "mimo/diversity"):
        table = scale("smoke").applied(papers.load(name))
        files, entries = tmp_path / "results" / f"{name}-smoke", planned(table, 1)
        first = entries[0]
        script.show(table, entries, tmp_path / "results")
        empty = Path(f"{files}.json").read_text()
        assert not Path(f"{files}.png").exists()
        finish(first.runs[0], test__acc=0.5, cost__images_per_second=100.0, cost__params=10)
        script.show(table, entries, tmp_path / "results")
        kept = {path: path.read_bytes() for path in files.parent.glob(f"{files.name}.*")}
        first.runs[0].results_file.unlink()
        capfd.readouterr()
        script.show(table, entries, tmp_path / "results")
        assert "have 1 finished runs and this has 0" in capfd.readouterr().out
        assert kept == {path: path.read_bytes() for path in files.parent.glob(f"{files.name}.*")}
        Path(f"{files}.json").write_text(empty)
        script.show(table, entries, tmp_path / "results")
        assert not Path(f"{files}.png").exists()  # what is drawn no more


@pytest.mark.slow
def test_overrides_that_change_what_is_computed_are_an_own_setting(reproduce):
    for words, name, head in (
        (("recipe.epochs=2",), "table4-own", "OWN SETTING, not the paper's"),
        (("recipe.epochs=2", "--scale", "smoke"), "table4-smoke-own", "SMOKE-OWN SCALE, not the paper's"),
        (("data.root=elsewhere", "trainer.devices=2", "strategy=ddp", "runs_dir=there"), "table4", ""),
        (("evaluation.save_predictions=true",), "table4", ""),
    ):
        code, out, err = reproduce("mimo/table4", "--no-run", "--out", name, *words)
        sheet = json.loads(Path(f"{name}/mimo/{name}.json").read_text())
        assert code == 1 and head in out and ("paper's setting" in out) == bool(head), err
        assert all(line["overrides"][-1] == [word for word in words if "=" in word][-1] for line in sheet["lines"])
        assert any("recipe.epochs=2 for the rows' own" in what for what in sheet["substitutions"]) == bool(head)


def test_ctrl_c_waits_for_train_and_shows_what_is_done(call, tmp_path, monkeypatch):
    stopping = tmp_path / "train.py"
    stopping.write_text(
        "import os, pathlib, signal, time\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(1)\n"
        "pathlib.Path('saved').touch()\n"
    )
    monkeypatch.setattr(running, "TRAIN", [sys.executable, stopping])
    code, out, err = call(script, "mimo/diversity", "--scale", "smoke")
    assert code == 130 and "missing" in out and not err
    assert Path("saved").exists() and Path("results/mimo/diversity-smoke.json").exists()


def test_chosen_rows_are_of_the_tables_that_have_them(reproduce):
    code, out, _ = reproduce("mimo/table4", "mimo/diversity", "--only", "TreeNet", "--dry-run", "--scale", "smoke")
    assert code == 0 and "mimo/diversity" in out and "mimo/table4" not in out
    code, _, err = reproduce("mimo", "--only", "TreeNet", "--only", "Mimo")
    assert code == 1 and "No table has a row 'Mimo'" in err and not reproduce.called


def test_force_is_refused(reproduce):
    code, _, err = reproduce("mimo/diversity", "force=true")
    assert code == 2 and "what is done is not run again" in err


@pytest.mark.parametrize("name", ["photos (1)", "a,b", "2024", 'a "b" \\'])
def test_images_may_be_in_any_folder(tmp_path, name):
    for file in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / name / file).mkdir(parents=True)
        (tmp_path / name / file / "1.png").touch()
    chosen = Scale("full", str(tmp_path / name))
    table = chosen.applied(papers.load("mimo/diversity"))
    table = replace(table, rows=table.rows[:1])
    (planned,) = plan(table, 1)
    assert planned.runs[0].config["data"]["root"] == str(tmp_path / name)
    written = experiments.write_experiments(table, tmp_path / "sweep")[1]
    config = yaml.safe_load((tmp_path / f"sweep/experiment/{written}.yaml").read_text())
    assert config["data"]["root"] == str(tmp_path / name)


def test_what_cannot_work_is_said(reproduce, tmp_path):
    for arguments, said in (
        (("mimo/table9",), "There is no table mimo/table9"),
        (("mimo/table1", "trainer.precision=16,32"), "give each override one value"),
        (("mimo/table1", "recipe.epoch=3"), "row 1 (Deterministic): There is no key recipe.epoch"),
        (("mimo/table1", "--only", "Mimo", "--dry-run"), "mimo/table1 has no row 'Mimo'"),
        ((), "Name a table"),
        (("mimo/table1", "--scale", "smoke", "--images", tmp_path), "At smoke scale no images are read"),
    ):
        code, _, err = reproduce(*arguments)
        assert code == 1 and said in err.replace("\n", " "), err


@pytest.mark.campaign
def test_everything_runs_at_smoke_scale(reproduce):
    code, _, err = reproduce("all", "--scale", "smoke", "runtime.progress=false", "trainer.accelerator=cpu")
    assert code == 0, err
    for name in papers.names():
        assert Path(f"results/{name}-smoke.json").is_file() and Path(f"results/{name}-smoke.md").is_file(), name
