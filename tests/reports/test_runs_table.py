"""Finished runs as one table, from folders as runs and sweeps leave them."""

import json
from pathlib import Path

import pytest

import ensembles
from ensembles.errors import UserError
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
