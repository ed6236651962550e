"""A paper's table beside what was measured: numbers, what is missing, and the mark of a smaller scale."""

import csv
import io
import json
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from rich.console import Console

from ensembles import papers
from ensembles.errors import UserError
from ensembles.papers.fill import fill, results
from ensembles.papers.scales import scale
from ensembles.reports import paper_table, sheet
from ensembles.reports.page import page
from ensembles.runs import Run


def rendered(filled):
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(paper_table.text(filled, console))
    return {
        "text": console.export_text(),
        "markdown": paper_table.markdown(filled),
        "csv": paper_table.to_csv(filled),
        "html": page(filled.full_title, [paper_table.html(filled)]),
    }


def cells(filled):
    """The CSV as (row, column) -> line."""
    lines = csv.DictReader(io.StringIO(paper_table.to_csv(filled)))
    return {(line["Method"], line["column"]): line for line in lines}


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


def test_a_row_without_runs_is_missing_and_not_left_out(planned, finish):
    table = papers.load("mimo/table1")
    entries = planned(table)
    finish(entries[0].runs[0], test__acc=0.9)
    entries[1].runs[0].folder.mkdir(parents=True)
    entries[1].runs[0].error_log.write_text("Traceback\nUserError: the disk is full\n")
    filled = fill(table, entries)
    assert [line.status for line in filled.lines[:3]] == ["1 of 2 seeds", "failed: the disk is full", "missing"]
    for name, text in rendered(filled).items():
        for row in table.rows:
            assert row.name in text, name
        assert "missing" in text and "1 of 2 seeds" in text and "failed: the disk is full" in text, name


def test_a_changed_number_in_the_file_is_in_every_rendering(changed, planned):
    def change(content):
        content["rows"][3]["paper"][0] = "12.345"

    filled = fill(table := changed("mimo/table1", change), planned(table))
    for name, text in rendered(filled).items():
        assert "12.345" in text and "96.4" not in text, name


def test_a_smaller_scale_is_in_every_rendering(planned):
    table = scale("small").applied(papers.load("mimo/table1"))
    filled = fill(table, planned(table))
    for name, raw in rendered(filled).items():
        text = unescape(raw)
        assert "small" in text.lower() and "full scale" in text, name
        if name != "csv":
            assert "SMALL SCALE, not the paper's setting" in text and "(96.4)" in text, name
            assert "WRN-16-1 for model=wrn28_10" in text, name
    assert '<section class="papers stand-in">' in paper_table.html(filled)  # which greys the paper's numbers
    assert "*(96.4)*" in paper_table.markdown(filled)
    console = Console(width=200, force_terminal=True, color_system="256", file=io.StringIO())
    console.print(paper_table.text(filled, console))
    assert "\x1b[38;5;244m" in console.file.getvalue()  # grey


def test_a_narrow_terminal_gets_all_columns(planned):
    table = papers.load("mimo/table4")
    filled = fill(table, planned(table))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(paper_table.text(filled, console))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert all(str(number) in text for row in table.rows for number in row.paper)


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
    assert "0.56 [2.24]" in paper_table.markdown(fill(table, entries))
    table = papers.load("mixture/table5")
    entries = planned(table)
    finish(entries[1].runs[0], members__acc=[0.5, 0.6, 0.7, 0.8])
    assert fill(table, entries).lines[1].cells[1].mean == 4


def test_an_evaluation_on_more_sets_serves_and_one_on_other_images_does_not(planned, finish):
    table = papers.load("mimo/table1")
    run = planned(table)[0].runs[0]
    finish(run, test__acc=0.5)
    other = {**run.config, "data": {"ood_sets": ["svhn"], "corrupt": None}}
    assert results(Run(other, run.folder)) is None  # a set is not there
    finish(Run(other, run.folder), test__acc=0.6)
    assert results(run) == {"test/acc": 0.6}
    corrupted = {**run.config, "data": {"ood_sets": [], "corrupt": "written", "corrupted_size": 10}}
    whole = {**corrupted, "data": {**corrupted["data"], "corrupted_size": None}}
    finish(Run(corrupted, run.folder), test__acc=0.7)
    assert results(run) == {"test/acc": 0.7} and results(Run(whole, run.folder)) is None
    best = {**run.config, "checkpoint": "best"}
    assert results(Run(best, run.folder)) is None


def test_a_sheet_is_read_as_it_was_written(planned, finish, tmp_path):
    table = scale("smoke").applied(papers.load("mixture/table6"))
    entries = planned(table)
    finish(entries[0].runs[0], test__acc=0.25, corrupted__fog__1__acc=0.5, corrupted__acc=0.5)
    filled = fill(table, entries)
    path = tmp_path / "sheet.json"
    path.write_text(filled.json())
    assert sheet.read(path) == filled
    kept = json.loads(path.read_text())["lines"][0]["runs"][0]
    assert kept["seed"] == 0 and kept["results"] == {"test/acc": 0.25, "corrupted/acc": 0.5}
    path.write_text('{"lines": []}')
    with pytest.raises(UserError, match=r"sheet\.json is not a table"):
        sheet.read(path)


class Balanced(HTMLParser):
    """Fails on a tag that closes another than the last one opened."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        assert not any(value and value.startswith(("http", "//")) for _, value in attributes)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_network(planned):
    table = replace(papers.load("mimo/table1"), title="<script>alert(1)</script>")
    text = rendered(fill(table, planned(table)))["html"]
    parser = Balanced()
    parser.feed(text)
    assert not parser.open and "<script>alert" not in text and text.count('class="sortable"') == 1
