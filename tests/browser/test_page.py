"""The page in a real browser: it draws without an error and without the network, and a click sorts a table."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ensembles.reports import table_result
from ensembles.reports.overview import overview
from ensembles.reports.paper_result import FigureResult
from ensembles.reports.per_image import PER_IMAGE, save_per_image
from ensembles.reports.runs_table import gather

pytestmark = pytest.mark.browser

ACCURACIES = {"packed": 0.91, "mimo": 0.87, "deep_ensemble": 0.94}


@pytest.fixture
def written(tmp_path):
    """The page over three runs, a table with a missing row, and a figure."""
    for method, accuracy in ACCURACIES.items():
        folder = tmp_path / "runs" / f"digits-net-{method}"
        folder.mkdir(parents=True)
        results = {"test/acc": accuracy, "cost/mult_adds": 1000 * accuracy, "cost/params": 100}
        results |= {f"corrupted/fog/{severity}/acc": accuracy - 0.1 * severity for severity in range(1, 6)}
        results |= {"members/acc": [accuracy - 0.1, accuracy], "diversity/disagreement": 0.1}
        (folder / "results.json").write_text(json.dumps(results))
        (folder / "provenance.json").write_text(json.dumps({"seed": 0, "command": f"run.py method={'a,' * 200}"}))
        (folder / "config.yaml").write_text(
            f"method: {{_target_: a.{method}, M: 4}}\nnote: <script>alert(1)</script>\n"
        )
        confidence = np.random.default_rng(0).random(500)
        save_per_image(folder / PER_IMAGE, confidence > 1 - accuracy, np.log(confidence), confidence)
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
    assert page.locator("img").count() == 3 * 2 + 1  # the runs' plots and the figure
    assert page.locator(".plots figure svg").count() == 5
    assert page.locator("section.stand-in h2").all_inner_texts() == [
        "SMOKE SCALE, not the paper's setting: A table",
        "SMOKE SCALE, not the paper's setting: A figure",
    ]

    of_runs = page.locator("#runs table.sortable")
    by_accuracy = sorted(ACCURACIES, key=ACCURACIES.get)
    assert names(page.locator("section table.sortable").first) == by_accuracy[::-1]
    for expected in (by_accuracy, by_accuracy[::-1]):
        of_runs.locator("th", has_text="accuracy").click()
        assert names(of_runs) == expected
    of_runs.locator("th", has_text="method").first.press("Enter")
    assert names(of_runs) == sorted(by_accuracy)

    of_paper = page.locator("section.papers table.sortable")
    for expected in (["First", "Second"], ["Second", "First"]):
        of_paper.locator("th", has_text="Accuracy").click()
        assert names(of_paper) == expected
    assert "Rows without a run: 1" in page.locator("section.papers").first.inner_text()

    page.locator("nav a", has_text="a/figure1").click()
    assert page.locator("[id='a/figure1-smoke']").bounding_box()["y"] < 900
    of_runs.locator("a", has_text="mimo").click()  # a link opens its run
    assert page.locator("details.run[open]").count() == 1
    page.locator("details.run[open] summary", has_text="Configuration").click()
    assert "<script>alert(1)</script>" in page.locator("details.run[open] pre").first.inner_text()
    shot = page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert struct.unpack(">II", shot[16:24])[0] == 1280 and Path(tmp_path / "page.png").stat().st_size > 10_000
    assert not said


OVERLAPS = """() => {
  const found = [];
  const clear = elements => elements.forEach((one, i) => elements.slice(i + 1).forEach(other => {
    const [a, b] = [one, other].map(element => element.getBoundingClientRect());
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 2 && down > 3) found.push([one.textContent, other.textContent]);
  }));
  for (const svg of document.querySelectorAll("figure svg")) clear([...svg.querySelectorAll("text")]);
  clear([...document.querySelectorAll("h1, h2, h3, nav a, figure, .scroll, section > p, summary")]
    .filter(element => element.checkVisibility()));
  return found;
}"""


@pytest.mark.parametrize("width", [390, 900, 1440])
def test_nothing_is_too_wide_and_nothing_covers_anything(written, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 844}, is_mobile=width < 500)
    page.goto(written.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    texts = page.locator("figure svg text").all()
    assert len(texts) > 50 and min(text.bounding_box()["height"] for text in texts) > 8  # can be read


def test_it_is_dark_where_the_reader_s_system_is_and_white_on_paper(written, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto(written.as_uri())
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 20, 20)"
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert page.locator("details.run").first.is_hidden() and page.locator("figure svg").first.is_visible()


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
