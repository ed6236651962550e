"""Finished runs as one table, from folders as runs and sweeps leave them."""

import json
from pathlib import Path

import pytest
import yaml

import ensembles
from ensembles.errors import UserError
from ensembles.files import load_json
from ensembles.reports import runs_table
from ensembles.reports.runs_table import FinishedRun, gather


def test_runs_are_a_table_with_settings_and_results_as_columns(run, tmp_path):
    for method in ("packed", "mimo"):
        for seed in range(3):
            run(f"digits-net-{method}-{len(method)}234567{seed}", seed, **{"test/acc": 0.5 + 0.1 * seed, "extra": None})
    (tmp_path / "runs" / "digits-net-mimo-42345670" / "config.yaml").unlink()
    found = ensembles.results(tmp_path / "runs")
    assert len(found) == 6 and {"run", "data", "model", "method", "seed", "folder", "method.M", "test/acc"} <= {
        *found.columns
    }
    assert found["test/acc"].dtype == "Float64" and found["seed"].dtype == "Int64"
    assert found["method.M"].isna().sum() == 1 and found["members/acc"].iloc[0] == [0.8, 0.9]
    over_seeds = found.groupby("method")["test/acc"].agg(["mean", "std"])
    assert over_seeds.loc["packed"].tolist() == pytest.approx([0.6, 0.1])


def test_a_sweep_names_its_runs_and_each_run_is_there_once(run, tmp_path):
    one, two = run("digits-net-packed-1"), run("digits-net-packed-2")
    sweep = tmp_path / "sweeps" / "abc"
    sweep.mkdir(parents=True)
    entries = [{"varied": {}, "folder": str(folder)} for folder in (one, two, tmp_path / "unfinished")]
    (sweep / "index.json").write_text(json.dumps({"arguments": [], "runs": entries}))
    assert [found.name for found in gather([sweep])[0]] == [one.name, two.name]
    assert len(gather([sweep, one, tmp_path / "runs"])[0]) == 2


def test_folders_without_results(tmp_path, run):
    with pytest.raises(UserError, match="There is no finished run"):
        gather([tmp_path])
    with pytest.raises(UserError, match=r"There is no .*nowhere"):
        gather([tmp_path / "nowhere"])
    folder = run("digits-net-packed-1")
    (folder / "results.json").write_text('{"test/acc": ')
    with pytest.raises(UserError, match=r"results\.json cannot be read"):
        gather([folder])


def test_collected_runs_that_differ_in_their_seed_alone_are_alike():
    def found(name, command):
        return FinishedRun(Path(name), {}, {"command": command}, "")

    one = found("cifar-net-mimo-0123abcd", "train.py -m method=mimo,packed seed=0 data.root=a")
    two = found("cifar-net-mimo-4567abcd", "train.py -m method=mimo seed=1,2 data.root=a")
    other = found("cifar-net-mimo-89ababcd", "train.py -m method=mimo seed=1 data.root=a data.train_size=50")
    unknown = found("cifar-net-mimo-11111111", "train.py -m method=mimo recipe.optimizer.lr=0.1,0.2")
    assert one.but_for_seed == two.but_for_seed != other.but_for_seed
    assert unknown.but_for_seed == unknown.name
    assert one.data == two.data == "cifar (root=a)" and other.data == "cifar (root=a, train_size=50)"


def test_what_is_no_run_is_left_out_and_a_sweep_is_read_from_elsewhere(run, tmp_path):
    folder = run("digits-net-packed-1")
    (tmp_path / "x.json").mkdir()
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "index.json").write_text('{"runs": [{"id": 1}, 2]}')
    sweep = tmp_path / "sweeps"
    sweep.mkdir()
    entries = [{"folder": f"runs/{folder.name}"}]
    (sweep / "index.json").write_text(json.dumps({"started_in": str(tmp_path), "runs": entries}))
    assert len(gather([tmp_path])[0]) == len(gather([sweep])[0]) == 1
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"results\.json cannot be read"):
        gather([tmp_path / "results.json"])


def test_a_study_s_run_has_the_name_of_its_data_and_network(tmp_path):
    def found(command, **settings):
        provenance = {"row": "packed", "command": f"train.py -m experiment=vit/packed seed=0 {command}"}
        return FinishedRun(tmp_path / "cifar10_vit-packed-0", {}, provenance, yaml.safe_dump(settings))

    timm = {"_target_": "ensembles.backbones.timm_model", "name": "vit_tiny_patch16_224"}
    assert found("", model=timm).model == "vit_tiny_patch16_224"
    assert found("", model={"_target_": "ensembles.backbones.wrn"}).model == "wrn"
    images = found("data=image_folder ++data.root=/tmp/cifar10", data={"train_size": 5000})
    assert images.data == "cifar10 (root=/tmp/cifar10, train_size=5000)"
    assert images.data_anywhere == "cifar10 (train_size=5000)"
    assert found("data=cifar100").data_anywhere == "cifar100"
    assert found("").data_anywhere == "cifar10_vit"  # what the experiment's data are is not said


def test_folders_are_left_out_by_their_names_below_the_one_that_is_named(run, tmp_path):
    folder = run("digits-net-packed-1")
    (tmp_path / "evaluations").mkdir()
    moved = (tmp_path / "runs").rename(tmp_path / "evaluations" / "runs")
    assert [found.name for found in gather([moved])[0]] == [folder.name]
    with pytest.raises(UserError, match="There is no finished run"):
        gather([tmp_path])


def test_a_file_that_may_not_be_read_is_one_sentence(run, tmp_path, monkeypatch):
    run("digits-net-packed-1")
    (tmp_path / "runs" / "secret.json").write_text("{}")

    def load(path):
        if path.name == "secret.json":
            raise PermissionError(13, "Permission denied")
        return load_json(path)

    monkeypatch.setattr(runs_table, "load_json", load)
    with pytest.raises(UserError, match=r"secret\.json cannot be read \(.*Permission denied\)"):
        gather([tmp_path / "runs"])
