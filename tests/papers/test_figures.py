"""The papers' figures: their files, what is drawn from finished runs, and what is said of those that are missing."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
from matplotlib.image import imread

from ensembles import papers
from ensembles.errors import UserError
from ensembles.papers.scales import scale
from ensembles.reports.page import page
from ensembles.reports.paper_result import FigureResult
from ensembles.reproduction.figures import draw_figure
from ensembles.reproduction.running import plan
from tests.papers.conftest import put

ROWS = {  # at full scale, at smoke scale
    "mimo/figure5": (10, 2),
    "mimo/figure6a": (12, 4),
    "mimo/figure6b": (48, 32),
    "mimo/figure7": (132, 4),
    "mimo/figure8": (120, 4),
    "mimo/figure9": (132, 4),
    "mixture/figure3_left": (9, 9),
    "mixture/figure3_right": (18, 6),
    "packed/figure1": (6, 6),
    "packed/figure6": (8, 4),
    "packed/figure7": (6, 4),
    "packed/members": (8, 4),
    "packed/ood_criteria": (6, 6),
    "packed/speed": (0, 0),
    "packed/stability": (3, 3),
    "packed/stochasticity": (8, 8),
}


def at(row):
    """Its place with its swept values as numbers."""
    return {head: float(text) if re.fullmatch(r"[\d.e-]+", text) else text for head, text in row.at.items()}


@pytest.mark.parametrize("name", ROWS)
def test_a_figure_has_its_rows_and_at_smoke_scale_the_ends_of_its_axes(name):
    entry = papers.load(name)
    smoke = scale("smoke").applied(entry)
    assert entry.is_figure and entry.shows and "_target_" in entry.drawing
    assert (len(entry.rows), len(smoke.rows)) == ROWS[name]
    assert len({row.name for row in entry.rows}) == len(entry.rows)
    assert len({(*row.arguments, *row.at.values()) for row in smoke.rows}) == len(smoke.rows)


def test_a_sweep_is_a_row_for_each_combination():
    figure = papers.load("mimo/figure8")
    assert figure.rows[0].names == ("CIFAR-10", "M = 1", "λ = 1.0e-5")
    assert at(figure.rows[-1]) == {"Data": "CIFAR-100", "M": 6, "λ": 0.05}
    assert figure.rows[-1].overrides["recipe.l2"] == "5.0e-2"
    smoke = scale("smoke").applied(figure)
    assert {row.overrides["recipe.l2"] for row in smoke.rows} == {"1.0e-5", "5.0e-2"}  # the axis is kept
    assert smoke.rows[0].overrides["recipe.epochs"] == "1"
    assert {at(row)["Data"] for row in smoke.rows} == {"scikit-learn's digits"}  # not the name of what is not there


def test_what_holds_for_every_row_is_said_where_it_holds():
    figures = {name: papers.load(f"mimo/{name}") for name in ("figure2", "figure5")}
    rows = [replace(row, swept={**row.swept, "recipe.batch_size": (0, 2)}) for row in figures["figure5"].rows]
    figures["swept"] = replace(figures["figure5"], rows=tuple(rows))
    stands = {name: scale("smoke").applied(figure).substitutions for name, figure in figures.items()}
    assert stands["figure2"] == ("3 training sets, 2 epochs",)
    assert len(stands["figure5"]) == len(stands["swept"]) == 1
    assert stands["swept"][0] == f"{stands['figure5'][0]} where no axis sweeps them"


def test_what_is_finished_is_drawn_and_what_is_not_is_said(planned, finish):
    figure = papers.load("mimo/figure5")
    entries = planned(figure)
    accuracies = {1: (0.95, 0.951), 3: (0.962, 0.964)}
    for entry in entries:
        place = at(entry.row)
        if place["Data"] == "CIFAR-10" and place["M"] in accuracies:
            for run, accuracy in zip(entry.runs, accuracies[place["M"]], strict=True):
                members = [accuracy - 0.01, accuracy - 0.03]
                finish(run, test__acc=accuracy, test__nll=0.1, members__acc=members, members__nll=[0.2, 0.4])
    sheet = draw_figure(figure, entries)
    rows = list(csv.DictReader(io.StringIO(sheet.csv())))
    assert len(rows) == 2 * 4
    for M, values in accuracies.items():
        percent = [100 * value for value in values]
        ensemble, members = (
            [r for r in rows if r["result"] == key and float(r["M"]) == M] for key in ("test/acc", "members/acc")
        )
        assert float(ensemble[0]["mean"]) == pytest.approx(mean(percent))
        assert float(ensemble[0]["std"]) == pytest.approx(stdev(percent)) and ensemble[0]["seeds"] == "2"
        assert float(members[0]["mean"]) == pytest.approx(mean(percent) - 2)
    text = sheet.markdown("figure5.png")
    assert "![Subnetworks" in text and "CIFAR-10, M = 2 (missing)" in text and len(sheet.missing) == 8
    assert "95.0 ± 0.1 at M = 1, 96.3 ± 0.1 at 3" in text
    assert "SCALE" not in text and "M = 3: test/acc 96.4, test/nll 0.123 (Table 1, row 4)" in text
    assert sheet.pictures["pdf"].startswith(b"%PDF") and sheet.provenance["hardware"]
    kept = json.loads(sheet.json())
    assert kept["lines"][0]["runs"][1]["results"]["test/acc"] == 0.951 and "pictures" not in kept


def test_without_results_there_is_a_sentence(planned):
    sheet = draw_figure(papers.load("mimo/figure5"), planned(papers.load("mimo/figure5")))
    assert not sheet.pictures and "Nothing is drawn yet" in sheet.text()
    assert len(sheet.missing) == 10 and "<img" not in page("", [sheet])


def test_what_cannot_be_drawn_before_more_rows_are_done_is_said(finish, tmp_path):
    figure = papers.load("mimo/figure2")
    first, *others = plan(figure, 1, [f"runs_dir={tmp_path}"])
    finish(first.runs[0], test__mse=0.5)
    sheet = draw_figure(figure, [first, *others])
    assert not sheet.pictures and "run its row too" in sheet.text() and len(sheet.missing) == len(others)


def test_a_smaller_scale_is_in_every_rendering(planned, finish, tmp_path):
    figures = {at: scale(at).applied(papers.load("packed/figure1")) for at in ("full", "smoke")}
    heights = {}
    for name, figure in figures.items():
        for entry in (entries := planned(figure, 1)):
            finish(entry.runs[0], test__acc=0.5, cost__images_per_second=100.0, cost__params=10)
        sheet = draw_figure(figure, entries)
        heights[name] = imread(io.BytesIO(sheet.pictures["png"])).shape[0]
        texts = [sheet.text(), sheet.markdown("x.png"), page("", [sheet])]
        assert all(("SMOKE SCALE, not the paper" in text) == (name == "smoke") for text in texts)
        assert all(("78.3" in text) == (name == "full") for text in texts)  # a printed number is of the full scale
        assert all(row["scale"] == name for row in csv.DictReader(io.StringIO(sheet.csv())))
        path = tmp_path / f"{name}.json"
        path.write_text(sheet.json())
        path.with_suffix(".png").write_bytes(sheet.pictures["png"])
        assert page("", [FigureResult.load(path)]) == page("", [sheet])
    assert heights["smoke"] > heights["full"]  # the line beneath the picture


def test_a_changed_number_is_shown(changed, planned):
    figure = changed("mimo/figure5", lambda content: content["drawing"]["printed"][0].update({"test/acc": "12.30"}))
    text = draw_figure(figure, planned(figure)).markdown("x.png")
    assert "test/acc 12.30, test/nll 0.123" in text and "96.4" not in text


@pytest.mark.parametrize(
    ("sentence", "change"),
    {
        "drawing: _target_ is missing": put("drawing", {"x": "M"}),
        "there is no show; known are shows": put("show", "A curve."),
        "the sweep over M is ['1'], but must be one key": put("sweep", "M", ["1"]),
        "the sweep over M has ['1'] for method.M, but must have a list of two or more": put(
            "sweep", "M", "method.M", ["1"]
        ),
        "there is no N; known are": put("sweep", {"N": {"method.M": ["1", "2"]}}),
        "scales: there is no tiny; known are small, smoke": put("scales", {"tiny": {}}),
        "rows have names": put("names", []),
    }.items(),
)
def test_a_wrong_file_is_named(changed, sentence, change):
    with pytest.raises(UserError) as error:
        changed("mimo/figure5", change)
    assert "figure5.yaml" in str(error.value) and sentence in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at"), [("mimo/figure5", "smoke-own"), ("packed/speed", "smoke")])
def test_a_figure_is_one_command(reproduce, name, at):
    quick = ("--scale", "smoke", "runtime.progress=false", "trainer.accelerator=cpu", "data.corrupted.source=null")
    code, out, err = reproduce(name, *quick)
    assert code == 0, err
    assert f"{at.upper()} SCALE, not the paper's setting" in out and "Missing" not in out
    for suffix in ("png", "pdf", "csv", "json", "md"):
        assert Path(f"results/{name}-{at}.{suffix}").stat().st_size > 100
    before = len(reproduce.called)
    assert reproduce(name, *quick)[0] == 0 and len(reproduce.called) == before  # nothing is run again


@pytest.mark.slow
def test_figure2_is_drawn_from_its_runs(reproduce):
    code, out, err = reproduce("mimo/figure2", "--scale", "smoke", "runtime.progress=false", "trainer.accelerator=cpu")
    assert code == 0, err
    with open("results/mimo/figure2-smoke.csv") as file:
        rows = list(csv.DictReader(file))
    assert {(row["M"], row["epoch"], row["of"]) for row in rows} == {
        (M, epoch, of) for M in "15" for epoch in "12" for of in ("ensemble", "members")
    }
    for row in rows:
        assert abs(float(row["bias2"]) + float(row["variance"]) - float(row["error"])) < 1e-9
    alone = {row["of"]: row["error"] for row in rows if row["M"] == "1" and row["epoch"] == "2"}
    assert alone["ensemble"] == alone["members"]  # M = 1 has one member
    findings = json.loads(Path("results/mimo/figure2-smoke.json").read_text())["findings"]
    (beside,) = [said for said in findings if "its own run by train.py" in said]
    pairs = re.findall(r"([\d.]+) and ([\d.]+) \(M = (\d)\)", beside)
    assert [M for *_, M in pairs] == ["1", "5"]
    for together, alone, _ in pairs:
        assert float(together) == pytest.approx(float(alone), rel=1e-3)
    picture = Path("results/mimo/figure2-smoke.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and Path("results/mimo/figure2-smoke.pdf").stat().st_size > 5000
    assert "The ensemble over 3 training sets: squared bias" in " ".join(out.split())
