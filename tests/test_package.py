"""What is installed: the package with its configs, and the command, from any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_all_packages_are_listed():
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "ensembles").rglob("__init__.py")]
    there = {".".join(folder.parts) for folder in folders} | {"ensembles.configs"}
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == there


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel that is built from a clone."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith(("ensembles/", "configs/")) or "/" not in name:
            (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "clone" / name)
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=folder / "clone", check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_a_wheel_holds_all_that_is_no_code(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "ls-files", "ensembles", "configs"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        assert (f"ensembles/{name}" if name.startswith("configs/") else name) in held


@pytest.mark.slow
def test_what_is_installed_works_elsewhere(wheel, tmp_path):
    """In a virtual environment of its own, which borrows the dependencies of this one."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = "import sys; from ensembles.commands import main; sys.exit(main())"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"COLUMNS": "120"}

    def ensembles(*arguments):
        words = [python, "-P", "-c", command, *arguments]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    there = subprocess.run(
        [python, "-P", "-c", "import ensembles; print(ensembles.__file__)"], env=environment, capture_output=True
    )
    assert there.stdout.decode().startswith(str(tmp_path))
    assert "cifar100" in ensembles("train", "--help")
    tiny = ["recipe.epochs=1", "trainer.accelerator=cpu", "runtime.progress=false", "data.corrupted.source=null"]
    assert "Results and plots: runs/digits-" in ensembles("train", *tiny)
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("_target_: ensembles.backbones.small_cnn\n")
    assert "2 out" not in ensembles("describe", "--config-dir", "conf", "model=mine", "method=mimo")
    ensembles("report", "runs")
    page = (tmp_path / "report.html").read_text()
    assert "ensembles train recipe.epochs=1" in page
    assert "ensembles train -m data=imagenet" in ensembles("reproduce", "mimo/table4", "--dry-run")
    scripts = SETTINGS["project"]["scripts"]
    assert scripts == {"ensembles": "ensembles.commands:main"}
