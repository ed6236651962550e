"""A paper's table beside what was measured, in every rendering: what is missing, and the mark of a smaller scale."""

import io
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

from rich.console import Console

from ensembles import papers
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
    assert '<section class="papers stand-in"' in rendered(filled)["html"]  # which greys the paper's numbers
    assert "*(96.4)*" in filled.markdown()
    console = Console(width=200, force_terminal=True, color_system="256", file=io.StringIO())
    console.print(filled.text(console))
    assert "\x1b[38;5;244m" in console.file.getvalue()  # grey


def test_a_narrow_terminal_gets_all_columns(planned):
    table = papers.load("mimo/table4")
    filled = fill(table, planned(table))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(filled.text(console))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert all(str(number) in text for row in table.rows for number in row.paper)


def test_a_stand_ins_costs_are_legible_and_not_compared(planned, finish):
    table = scale("small").applied(papers.load("packed/table1"))
    entries = planned(table)
    for entry, params in ((entries[0], (175_066, 175_066)), (entries[1], (175_066, 185_066))):
        for run, number in zip(entry.runs, params, strict=True):
            finish(run, cost__params=number, cost__mult_adds=2_345_678, test__acc=0.5)
    filled = fill(table, entries)
    assert [cell.difference for cell in filled.lines[0].cells[-2:]] == [None, None]
    assert filled.lines[0].cells[0].difference == -44
    for name, text in rendered(filled).items():
        assert ("0.175" in text and "0.00235" in text) or name == "csv", name
        assert "0.175 ±" not in text and "0.00235 ±" not in text and "-10.99" not in text, name
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
