"""The documentation: a page a method, no page of nothing, and notebooks that run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ensembles

ROOT = Path(__file__).parents[1]
METHODS = sorted(path.stem for path in (ROOT / "configs/method").glob("*.yaml"))
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_a_page_with_equation_picture_and_measured_row(name):
    text = (ROOT / f"docs/methods/{name}.md").read_text()
    assert text.count("$$") in (2, 4) and f"<!-- picture: {name} -->" in text and f"<!-- measured: {name} -->" in text
    assert f"ensembles train method={name}" in text
    assert f"methods/{name}.md" in (ROOT / "mkdocs.yml").read_text()
    assert f"({name}.md)" in (ROOT / "docs/methods/index.md").read_text()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_names_no_other_place(tmp_path):
    """Nor an equation or a picture that is left as it was written."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "reference.html", "results/claims.html"} <= pages.keys()
    for name, text in pages.items():
        assert 'src="http' not in text and 'rel="stylesheet" href="http' not in text, name
        assert "<!-- " not in text and 'class="arithmatex"' not in text, name
    packed = pages["methods/packed.html"]
    assert "<math" in packed and "<svg viewBox" in packed and "<strong>packed</strong>" in packed
    assert pages["index.html"].count('<figure class="picture">') == len(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, tmp_path, monkeypatch):
    """In a folder of their own; they are kept with what they print."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(path, tmp_path)
    book = nbformat.read(tmp_path / path.name, as_version=4)
    nbformat.validate(book)
    assert all(cell.outputs for cell in book.cells[-4:-1] if cell.cell_type == "code"), "keep what it prints"
    NotebookClient(book, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()


def test_the_citation_names_the_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    settings = (ROOT / "pyproject.toml").read_text()
    assert citation["version"] == ensembles.__version__ and f'license = "{citation["license"]}"' in settings
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text()
