"""A paper's table beside what was measured, in every rendering: what is missing, and the mark of a smaller scale."""

import io
import json
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from ensembles import papers
from ensembles.commands import reproduce
from ensembles.papers.scales import scale
from ensembles.reproduction.measured import fill
from tests.papers.conftest import rendered


def test_a_row_without_runs_is_missing_and_not_left_out(planned, finish):
    table = papers.load("mimo/table1")
    entries = planned(table)
    finish(entries[0].runs[0], test__acc=0.9)
    entries[1].runs[0].folder.mkdir(parents=True)
    entries[1].runs[0].error_log.write_text("Traceback\nensembles.errors.UserError: the disk is full\n")
    filled = fill(table, entries)
    failed = f"failed: the disk is full [{entries[1].runs[0].error_log}]"
    assert [line.status for line in filled.lines[:3]] == ["1 of 2 seeds", failed, "missing"]
    table_rows = [line for line in filled.markdown().splitlines() if line.startswith("| ")][2:]
    assert len(table_rows) == 3 + 3 + 6  # of a row that was not run there is one line
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
    table = scale("smoke").applied(papers.load("mimo/table1"))
    filled = fill(table, planned(table))
    for name, raw in rendered(filled).items():
        text = unescape(raw)
        assert "smoke" in text.lower() and "full scale" in text, name
        if name != "csv":
            assert "SMOKE SCALE, not the paper's setting" in text and "(96.4)" in text, name
            assert "stand WRN-16-1, 100 of scikit-learn's digits" in text, name
    assert '<section class="papers stand-in"' in rendered(filled)["html"]  # which greys the paper's numbers
    assert "*(96.4)*" in filled.markdown()
    console = Console(width=200, force_terminal=True, color_system="256", file=io.StringIO())
    console.print(filled.text(console))
    assert "\x1b[38;5;244m" in console.file.getvalue()  # grey


@pytest.mark.parametrize("at", ["smoke", "own"])
def test_nothing_is_subtracted_from_numbers_of_another_scale(at, planned, finish):
    table = papers.load("mimo/table1")
    table = scale(at).applied(table) if at == "smoke" else replace(table, scale=at)
    entries = planned(table)
    for entry in entries:
        for run in entry.runs:
            finish(run, test__acc=0.5, test__nll=1.0, cost__forward_passes=1.0)
    filled = fill(table, entries)
    assert all(cell.difference is None for line in filled.lines for cell in line.cells)
    for name, text in rendered(filled).items():
        assert "-46" not in text and "+0.84" not in text, name
        assert name == "csv" or ("50.0" in text and ">difference" not in text and "| difference" not in text), name


def test_at_small_scale_rows_have_the_study_s_runs(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    Path("results/cifar10").mkdir(parents=True)
    runs = [
        {
            "row": row,
            "seed": seed,
            "commit": "abc",
            "results": {"test/acc": acc + 0.01 * seed, "cost/params": 1e6},
        }
        for row, acc in (("packed-gamma2", 0.92), ("deterministic", 0.91))
        for seed in (0, 1)
    ]
    Path("results/cifar10/runs.json").write_text(json.dumps(runs))
    ended = call(reproduce, "packed/table1", "mimo/table2", "mimo/figure5", "--scale", "small")
    assert ended.code == 0, ended.err
    assert "mimo/table2: on other data" in ended.out and "mimo/figure5: a figure over runs" in ended.out
    assert [path.name for path in Path("results").iterdir()] in (["cifar10", "packed"], ["packed", "cifar10"])
    text = Path("results/packed/table1-small.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row[4] for row in rows if row[3] == "measured"] == ["91.5 ± 0.7", "92.5 ± 0.7"] * 3
    assert sum("(missing)" in row[0] for row in rows) == 3 * 3 and len(rows) == 3 * (2 * 2 + 3)
    assert "measured is packed-gamma2 of results/cifar10: M = 4, alpha = 2, gamma = 2" in text
    assert "Not measured at this scale: MIMO (" in text and "Deep Ensembles, C100, WR." in text
    kept = json.loads(Path("results/packed/table1-small.json").read_text())["lines"][4]["runs"][1]
    assert kept["seed"] == 1 and kept["provenance"]["commit"] == "abc"
    ended = call(reproduce, "packed/table1", "--scale", "small", "--dry-run")
    assert "ensembles study results/cifar10 --rows batch_ensemble,masksembles,deep_ensemble --seeds 5" in ended.out
    ended = call(reproduce, "packed/table1", "--scale", "small", "recipe.epochs=1")
    assert ended.code == 1 and "At small scale nothing is run" in ended.err


def test_a_narrow_terminal_gets_all_columns(planned):
    table = papers.load("mimo/table4")
    filled = fill(table, planned(table))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(filled.text(console))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert all(str(number) in text for row in table.rows for number in row.paper)


def test_a_stand_ins_costs_are_legible(planned, finish):
    table = scale("smoke").applied(papers.load("packed/table1"))
    entries = planned(table)
    for entry, params in ((entries[0], (175_066, 175_066)), (entries[1], (175_066, 185_066))):
        for run, number in zip(entry.runs, params, strict=True):
            finish(run, cost__params=number, cost__mult_adds=2_345_678, test__acc=0.5)
    filled = fill(table, entries)
    for name, text in rendered(filled).items():
        assert ("0.175" in text and "0.00235" in text) or name == "csv", name
        assert "0.175 ±" not in text and "0.00235 ±" not in text, name
        assert "0.180 ± 0.007" in text or name == "csv", name
    full = papers.load("packed/table1")
    entries = planned(full)
    for run in entries[0].runs:
        finish(run, cost__params=11_173_962)
    assert "| 11.17 |" in fill(full, entries).markdown()


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
