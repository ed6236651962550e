"""What runs have measured, put into a table: numbers, how far each row is, and what is noted."""

import json
import os
from dataclasses import replace

import pytest

from ensembles import papers
from ensembles.errors import UserError
from ensembles.files import held
from ensembles.papers.scales import scale
from ensembles.reports.table_result import TableResult
from ensembles.reproduction.measured import fill
from ensembles.runs import Run
from tests.papers.conftest import cells, put, rendered


def test_a_cell_has_mean_deviation_and_difference(planned, finish):
    table = papers.load("mimo/table1")
    entries = planned(table)
    for run, acc in zip(entries[3].runs, (0.960, 0.966), strict=True):
        finish(run, test__acc=acc, cost__forward_passes=1.02)
    filled = fill(table, entries)
    cell = cells(filled)["MIMO (M = 3)", "Accuracy"]
    assert cell["paper"] == "96.4" and cell["seeds"] == "2" and cell["status"] == "done"
    assert float(cell["measured"]) == pytest.approx(96.3)
    assert float(cell["std"]) == pytest.approx(0.3 * 2**0.5)
    assert float(cell["difference"]) == pytest.approx(-0.1)
    passes = cells(filled)["MIMO (M = 3)", "# Forward passes"]
    assert passes["difference"] == ""  # another count
    for name, text in rendered(filled).items():
        if name != "csv":
            assert "96.3 ± 0.4" in text and "-0.1" in text and "1.02" in text, name
        assert "Table 1" in text and "SCALE" not in text, name


def test_members_are_counted_averaged_or_the_best_of_them(planned, finish):
    table = papers.load("mixture/table6")
    entries = planned(table)
    for run, members in zip(entries[2].runs, ([0.80, 0.81, 0.79, 0.80], [0.81, 0.83, 0.81, 0.79]), strict=True):
        finish(run, test__acc=0.83, members__acc=members)
    name, filled = "MixtureEnsembles, 120M", cells(fill(table, entries))
    mean, best = filled[name, "Members' mean accuracy"], filled[name, "Best member's accuracy"]
    assert (float(mean["measured"]), mean["paper"]) == (pytest.approx(80.5), "80.36")
    assert (float(best["measured"]), best["paper"]) == (pytest.approx(82.0), "80.49")
    table = papers.load("mixture/table5")
    entries = planned(table)
    for run in entries[1].runs:
        finish(run, members__acc=[0.7] * 4)
    assert float(cells(fill(table, entries))["BatchEnsemble", "# Ensemble Members"]["measured"]) == 4


def test_a_row_says_how_far_its_runs_are(planned, finish):
    table = papers.load("mimo/table1")
    entries = planned(table)
    finish(entries[0].runs[0], test__acc=0.9)
    for run in (entries[0].runs[1], entries[1].runs[0], entries[1].runs[1]):
        run.folder.mkdir(parents=True)
        run.history.write_text("epoch\n0\n1\n2\n")
    with held(entries[1].runs[1].folder):
        states = [line.status for line in fill(table, entries).lines[:2]]
    assert states[0] == "1 of 2 seeds, unfinished: 3 of 20 epochs"
    assert states[1].startswith(f"running: process {os.getpid()} on ")
    assert fill(table, entries).lines[1].status == "unfinished: 3 of 20 epochs"


def test_costs_relative_to_a_row_and_counts_of_the_papers_own(planned, finish):
    table = papers.load("mixture/table2")
    entries = planned(table)
    for entry in entries[:2]:
        for run in entry.runs:
            finish(run, cost__mult_adds=(5 if entry is entries[0] else 20.5))
    assert float(cells(fill(table, entries))["BatchEnsembles (Havasi et al., 2020)", "FLOPS"]["measured"]) == 4.1
    table = papers.load("packed/table1")
    entries = planned(table)
    finish(entries[2].runs[0], cost__mult_adds=0.56e9, ood__svhn__max_probability__aupr=0.9)
    cell = fill(table, entries).lines[2].cells[-1]
    assert (cell.mean, cell.counted, cell.difference) == pytest.approx((0.56, 2.24, 0))
    assert fill(table, entries).lines[2].cells[3].mean == 90
    assert "0.56 [2.24]" in fill(table, entries).markdown()
    table = papers.load("mixture/table5")
    entries = planned(table)
    finish(entries[1].runs[0], members__acc=[0.5, 0.6, 0.7, 0.8])
    assert fill(table, entries).lines[1].cells[1].mean == 4


def test_rows_of_the_same_runs_say_so_and_a_cell_counts_the_runs_that_have_it(planned, finish):
    table = papers.load("mimo/table1")
    entries = planned(table, 3)
    entries[3] = replace(entries[3], runs=entries[1].runs)
    entries[4] = replace(entries[4], runs=[*entries[1].runs[:2], entries[4].runs[2]])
    for run, nll in zip(entries[1].runs, (1.0, 2.0, None), strict=True):
        finish(run, test__acc=0.5, **({} if nll is None else {"test__nll": nll}))
    filled = fill(table, entries)
    said = dict(filled.notes)
    same = f"the same runs as row 2 ({table.rows[1].name})"
    marked = [same in [said[mark] for mark in line.mark.split(",") if mark] for line in filled.lines]
    assert marked == [False, False, False, True, *[False] * 4]
    assert [cell.seeds for cell in filled.lines[1].cells[:3]] == [3, 2, 0]
    for name, text in rendered(filled).items():
        assert name == "csv" or "the same runs as row 2" in text, name


def test_footnotes_after_the_ninth_are_numbered_on(planned):
    table = papers.load("mimo/table1")
    notes = [f"note {i}" for i in range(1, 8)]
    rows = [replace(row, note=note) for row, note in zip(table.rows, [*notes, None], strict=True)]
    columns = [column.model_copy(update={"apart": f"kind {i}"}) for i, column in enumerate(table.columns)]
    filled = fill(replace(table, columns=tuple(columns)), planned(replace(table, rows=tuple(rows)), 1))
    assert [mark for mark, _ in filled.notes if mark] == [*"¹²³⁴⁵⁶⁷⁸⁹", *(f"¹{digit}" for digit in "⁰¹²³⁴⁵")]


def test_a_key_that_no_finished_row_has_is_told(changed, planned, finish):
    table = changed("mimo/diversity", put("columns", 0, "key", "diversity/disagrement"))
    entries = planned(table)
    assert not fill(table, entries).columns[0].mark  # nothing is finished
    finish(entries[1].runs[0], diversity__disagreement=0.1, diversity__kl=0.2)
    filled = fill(table, entries)
    said = "mimo/diversity.yaml, column 1 (Disagreement): no finished row has the key diversity/disagrement"
    assert dict(filled.notes)[filled.columns[0].mark] == said and not filled.columns[1].mark
    for name, text in rendered(filled).items():
        assert name == "csv" or said in text, name


def test_an_evaluation_on_more_sets_serves_and_one_on_other_images_does_not(planned, finish):
    table = papers.load("mimo/table1")
    run = planned(table)[0].runs[0]
    finish(run, test__acc=0.5)
    other = {**run.config, "data": {"ood_sets": ["svhn"]}}
    assert Run(other, run.folder).results() is None  # a set is not there
    finish(Run(other, run.folder), test__acc=0.6)
    assert run.results() == {"test/acc": 0.6}
    corrupted = {**run.config, "data": {"ood_sets": [], "corrupted": {"source": "written", "size": 10}}}
    whole = {**run.config, "data": {"ood_sets": [], "corrupted": {"source": "written", "size": None}}}
    finish(Run(corrupted, run.folder), test__acc=0.7)
    assert run.results() == {"test/acc": 0.7} and Run(whole, run.folder).results() is None
    best = {**run.config, "test_on": "best"}
    assert Run(best, run.folder).results() is None


def test_a_table_is_read_as_it_was_written(planned, finish, tmp_path):
    table = scale("smoke").applied(papers.load("mixture/table6"))
    entries = planned(table)
    finish(entries[0].runs[0], test__acc=0.25, corrupted__fog__1__acc=0.5, corrupted__acc=0.5)
    filled = fill(table, entries)
    path = tmp_path / "sheet.json"
    path.write_text(filled.json())
    assert TableResult.load(path) == filled
    written = json.loads(filled.json())
    for cell in written["lines"][0]["cells"]:
        del cell["seeds"]  # as an earlier version wrote it
    path.write_text(json.dumps(written))
    assert TableResult.load(path) == filled
    kept = json.loads(path.read_text())["lines"][0]["runs"][0]
    assert kept["seed"] == 0 and kept["results"] == {"test/acc": 0.25, "corrupted/acc": 0.5}
    path.write_text('{"lines": []}')
    with pytest.raises(UserError, match=r"sheet\.json is not a table"):
        TableResult.load(path)
