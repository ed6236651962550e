"""Images that take the place of others of the same name and size."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensembles.methods import Method

SETTINGS = ("data=image_folder", "data.train_size=null", "data.num_workers=1", "recipe.epochs=1", "data.val_fraction=0")


def draw(folder, seed, like=None):
    """Images without compression, all of one size in bytes; with the times of others."""
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            pixels = np.random.default_rng([seed, label, number]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            path = folder / name / f"{number}.bmp"
            times = path.stat() if like else None
            Image.fromarray(pixels).save(path)
            if times:
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture
def evaluate(tiny, tmp_path):
    """Run on the folder ``images``, or on another; ``network=False`` where there must be results already."""
    for seed, part in enumerate(("train", "test")):
        draw(tmp_path / "images" / part, seed)
    draw(tmp_path / "own", 2)

    def evaluate(*arguments, root="images", network=True):
        own = f"data.ood={{own: {tmp_path / 'own'}}}"
        with pytest.MonkeyPatch.context() as patch:
            if not network:
                patch.setattr(Method, "test_step", None)
            return tiny(*SETTINGS, f"data.root={tmp_path / root}", own, *arguments)

    return evaluate


def run_and_results():
    (run,) = (path for path in Path("runs").iterdir() if "." not in path.name)
    found = json.loads((run / "results.json").read_text())
    return run, {key: value for key, value in found.items() if not key.startswith("cost/")}


@pytest.mark.parametrize(
    ("part", "key", "like"),
    [
        ("images/test", "test/nll", "times"),
        ("own", "ood/own/mutual_information/auroc", None),
        pytest.param("images/test", "test/nll", None, marks=pytest.mark.slow),
        pytest.param("own", "ood/own/mutual_information/auroc", "times", marks=pytest.mark.slow),
    ],
)
def test_images_to_evaluate_on(evaluate, tmp_path, part, key, like):
    assert evaluate().code == 0
    run, before = run_and_results()
    trained = (run / "last.ckpt").stat().st_mtime_ns
    draw(tmp_path / part, 3, like)
    ended = evaluate()
    assert ended.code == 0, ended.err
    same, after = run_and_results()
    assert same == run and (run / "last.ckpt").stat().st_mtime_ns == trained
    assert after[key] != before[key]
    (kept,) = (run / "evaluations").iterdir()
    assert json.loads((kept / "results.json").read_text())[key] == before[key]
    assert evaluate(network=False).code == 0


def test_copies_are_the_same_images(evaluate, tmp_path):
    assert evaluate().code == 0
    shutil.copytree(tmp_path / "images", tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "own").rglob("*.bmp"):
        os.utime(path)
    ended = evaluate(root="copy", network=False)
    assert ended.code == 0, ended.err


def test_training_images(evaluate, tmp_path):
    assert evaluate().code == 0
    run, before = run_and_results()
    draw(tmp_path / "images/train", 3)
    ended = evaluate()
    assert ended.code == 1 and len(ended.err.strip().splitlines()) == 1
    assert "have changed since" in ended.err and "train anew with force=true" in ended.err
    assert run_and_results() == (run, before)
    assert evaluate("force=true").code == 0
    assert run_and_results()[1] != before and Path(f"{run}.previous").is_dir()
    assert evaluate(network=False).code == 0


def test_a_training_that_was_begun_by_force_on_others_begins_anew(evaluate, tmp_path):
    assert evaluate().code == 0
    run, before = run_and_results()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Method, "test_step", None)
        assert evaluate("force=true").code == 1
    draw(tmp_path / "images/train", 3)
    assert evaluate("force=true").code == 0
    kept = json.loads((Path(f"{run}.previous") / "results.json").read_text())
    assert {key: value for key, value in kept.items() if not key.startswith("cost/")} == before
    assert run_and_results()[1] != before
