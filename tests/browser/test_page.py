"""The page in a real browser: it draws without an error and without the network, and a click sorts a table."""

import json
import shutil
import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ensembles.reports import table_result
from ensembles.reports.overview import overview
from ensembles.reports.paper_result import FigureResult
from ensembles.reports.runs_table import gather

pytestmark = pytest.mark.browser

ACCURACIES = {"packed": 0.91, "mimo": 0.87, "deep_ensemble": 0.94}


@pytest.fixture
def written(tmp_path):
    """The page over three runs, a table with a missing row, and a figure."""
    for method, accuracy in ACCURACIES.items():
        folder = tmp_path / "runs" / f"digits-net-{method}"
        folder.mkdir(parents=True)
        results = {"test/acc": accuracy, "cost/images_per_second": 1000 * accuracy, "cost/params": 100}
        (folder / "results.json").write_text(json.dumps(results))
        (folder / "provenance.json").write_text(json.dumps({"seed": 0, "command": f"run.py method={'a,' * 200}"}))
        (folder / "config.yaml").write_text(
            f"method: {{_target_: a.{method}, M: 4}}\nnote: <script>alert(1)</script>\n"
        )
        for plot in ("curves.png", "reliability.png"):
            Figure(figsize=(2, 1)).savefig(folder / plot)
    texts = {"scale": "smoke", "substitutions": ["digits for data=cifar10"], "paper": "A paper", "cites": "Table 1"}
    cells = [[table_result.Cell("96.4", 93.0)], [table_result.Cell("95.1", 94.0)], [table_result.Cell("94.2")]]
    lines = [
        table_result.Line([name], "row", "done" if cell[0].mean else "missing", cell)
        for name, cell in zip(("First", "Second", "Third"), cells, strict=True)
    ]
    columns = [table_result.Head("test/acc", "Accuracy", "", "higher")]
    table = table_result.TableResult(
        "a/table1", "A table", heads=["Method"], columns=columns, lines=lines, notes=[], **texts
    )
    rest = {"note": "", "printed": [], "data": [{"M": 1}], "lines": [], "provenance": {}}
    figure = FigureResult("a/figure1", "A figure", shows="A curve.", findings=["It rises."], **texts, **rest)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table1-smoke.json").write_text(table.json())
    (tmp_path / "results" / "figure1-smoke.json").write_text(figure.json())
    Figure(figsize=(3, 2)).savefig(tmp_path / "results" / "figure1-smoke.png")
    path = tmp_path / "page.html"
    path.write_text(overview(*gather([tmp_path / "runs", tmp_path / "results"])), encoding="utf-8")
    return path


@pytest.fixture
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engines:
        browser = engines.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def names(table):
    """The first column's texts, from the top."""
    return [text.split("\n")[0] for text in table.locator("tbody tr td:first-child").all_inner_texts()]


def test_the_page_draws_and_sorts(written, browser, tmp_path):
    said, asked = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written.as_uri())
    assert not said
    assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.locator("img").count() == 3 * 2 + 1 + 1  # the runs' plots, the scatter and the figure
    assert page.locator("section.stand-in h2").all_inner_texts() == [
        "SMOKE SCALE, not the paper's setting: A table",
        "SMOKE SCALE, not the paper's setting: A figure",
    ]

    of_runs = page.locator("#runs table.sortable")
    by_accuracy = [f"digits-net-{method}" for method in sorted(ACCURACIES, key=ACCURACIES.get)]
    for expected in (by_accuracy, by_accuracy[::-1]):
        of_runs.locator("th", has_text="accuracy").click()
        assert names(of_runs) == expected
    of_runs.locator("th", has_text="run").first.press("Enter")
    assert names(of_runs) == sorted(by_accuracy)

    of_paper = page.locator("section.papers table.sortable")
    for expected in (["First", "Second", "Third"], ["Second", "First", "Third"]):  # what is missing stays last
        of_paper.locator("th", has_text="Accuracy").click()
        assert names(of_paper) == expected
    assert "missing" in of_paper.locator("tbody tr").last.inner_text()

    page.locator("nav a", has_text="a/figure1").click()
    assert page.locator("[id='a/figure1-smoke']").bounding_box()["y"] < 900
    page.locator("summary", has_text="Configuration").first.click()
    assert "<script>alert(1)</script>" in page.locator("pre").first.inner_text()
    shot = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert struct.unpack(">II", shot[16:24])[0] == 1280 and Path(tmp_path / "page.png").stat().st_size > 10_000
    assert not said


def test_nothing_is_wider_than_a_phone(written, browser):
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True)
    page.goto(written.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= Math.min(innerWidth, 390)")


def test_nothing_of_a_file_runs(browser, tmp_path):
    """A tag in a run's seed, name, results, config and command is text in the page."""
    bad = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"
    results = {"test/acc": bad, "cost/params": 100, bad: bad}
    about = {"seed": bad, "command": bad, "commit": bad, "hardware": bad, "seconds": {bad: bad}}
    (tmp_path / "listed.json").write_text(json.dumps([{"run": bad, **about, "results": results}]))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "provenance.json").write_text(json.dumps(about))
    (folder / "config.yaml").write_text(json.dumps({"method": {"M": bad}, "note": bad}))
    path = tmp_path / "page.html"
    path.write_text(overview(*gather([tmp_path])), encoding="utf-8")
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_timeout(300)
    assert page.title() == "Ensembles" and [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1
    assert bad in page.locator("#runs table").inner_text()
