"""The page over runs, from folders as runs leave them."""

import json

import pytest
from matplotlib.figure import Figure

from ensembles.errors import UserError
from ensembles.reports.gathered import gather
from ensembles.reports.overview import overview
from ensembles.reports.tradeoff import Point, tradeoff


@pytest.fixture
def run(tmp_path):
    """Make a finished run's folder."""

    def make(name, seed=0, **results):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        found = {"test/acc": 0.9, "members/acc": [0.8, 0.9], "cost/images_per_second": 1000.0, "cost/params": 100}
        (folder / "results.json").write_text(json.dumps(found | results))
        (folder / "provenance.json").write_text(json.dumps({"seed": seed, "command": f"python train.py seed={seed}"}))
        (folder / "config.yaml").write_text(f"method: {{_target_: a.Packed, M: 4}}\nseed: {seed}\nnote: <b>\n")
        for plot in ("severity.png", "curves.png", "reliability.png"):
            Figure(figsize=(1, 1)).savefig(folder / plot)
        return folder

    return make


def test_the_page_has_each_run_with_config_and_plots(run, tmp_path):
    one, two = run("digits-net-packed-1"), run("digits-net-packed-2", seed=1, **{"test/acc": 0.8})
    runs, sheets, _ = gather([tmp_path / "runs"])
    assert [found.folder for found in runs] == [one, two] and not sheets
    assert [path.stem for path in runs[0].plots] == ["curves", "reliability", "severity"]
    text = overview(runs, sheets)
    for name in (one.name, two.name):
        assert f'id="{name}"' in text
    assert text.count("data:image/png;base64") == 2 * 3 + 1  # and the scatter
    assert "note: &lt;b&gt;" in text and "python train.py seed=1" in text and "<b>" not in text
    assert 'data-order="0.8"' in text and "http" not in text.replace("http-equiv", "")


def test_a_sweep_names_its_runs_and_each_run_is_there_once(run, tmp_path):
    one, two = run("digits-net-packed-1"), run("digits-net-packed-2")
    sweep = tmp_path / "sweeps" / "abc"
    sweep.mkdir(parents=True)
    entries = [{"varied": {}, "folder": str(folder)} for folder in (one, two, tmp_path / "unfinished")]
    (sweep / "index.json").write_text(json.dumps({"arguments": [], "runs": entries}))
    assert [found.name for found in gather([sweep])[0]] == [one.name, two.name]
    assert len(gather([sweep, one, tmp_path / "runs"])[0]) == 2


def test_files_of_many_runs_are_read(tmp_path):
    place = tmp_path / "results" / "cifar10"
    place.mkdir(parents=True)
    (place / "results.json").write_text(json.dumps({"packed": {"results": {"test/acc": 0.75}, "commit": "abc"}}))
    (place / "corrupted.json").write_text(json.dumps({"packed": {"results": {"corrupted/acc": 0.5}}}))
    listed = [{"run": "digits-net-mimo-1", "seed": 3, "results": {"test/acc": 0.875}}, {"other": 1}]
    (tmp_path / "results" / "listed.json").write_text(json.dumps(listed))
    runs, sheets, figures = gather([tmp_path / "results"])
    assert {run.name: run.results for run in runs} == {
        "cifar10-packed": {"test/acc": 0.75, "corrupted/acc": 0.5},
        "digits-net-mimo-1": {"test/acc": 0.875},
    }
    text = overview(runs, sheets, figures)
    assert "75.0" in text and "50.0" in text and 'data-order="3"' in text


def test_folders_without_results(tmp_path, run):
    with pytest.raises(UserError, match="There is no finished run"):
        gather([tmp_path])
    with pytest.raises(UserError, match=r"There is no .*nowhere"):
        gather([tmp_path / "nowhere"])
    folder = run("digits-net-packed-1")
    (folder / "results.json").write_text('{"test/acc": ')
    with pytest.raises(UserError, match=r"results\.json cannot be read"):
        gather([folder])


def test_the_area_of_a_point_is_proportional_to_its_parameters():
    points = [Point("A", "M = 2", 0.5, 100, 1e6), Point("B", "", 0.6, 200, 4e6)]
    axes = tradeoff(points).axes[0]
    areas = [collection.get_sizes()[0] for collection in axes.collections]
    assert areas[1] == pytest.approx(4 * areas[0])
    assert [collection.get_offsets()[0].tolist() for collection in axes.collections] == [[100, 50], [200, 60]]
    assert axes.get_xscale() == "log"
