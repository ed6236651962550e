"""The documentation in a real browser, opened from disk: it finds a word, and asks for nothing from elsewhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


def test_pages_open_from_disk_and_are_searched(tmp_path):
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    asked, said = [], []
    with sync_playwright() as engines:
        browser = engines.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((tmp_path / "index.html").as_uri())
        assert page.locator(".gallery a svg").count() == 10
        page.locator("[data-md-component=search-query]").press_sequentially("Masksembles")  # the search listens to keys
        found = page.locator(".md-search-result__link")
        found.first.wait_for(state="attached", timeout=60_000)  # until the index has been read
        assert "masksembles" in found.first.get_attribute("href")
        page.set_viewport_size({"width": 390, "height": 844})
        for name in ("index", "methods/mimo", "methods/index"):
            page.goto((tmp_path / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth <= 390"), name
        browser.close()
    assert not said and all(url.startswith(("file:", "data:")) for url in asked), [said, asked]
