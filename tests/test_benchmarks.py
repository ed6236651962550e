"""Every benchmark runs, on tiny sizes; networks and transforms of the same signatures play torch-uncertainty."""

import csv
import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TESTED = {
    "common",
    "corruptions",
    "corruptions_reference",
    "corruption_speed",
    "epoch",
    "evaluation",
    "image_files",
    "input_pipeline",
}
TESTED |= {"forms", "members", "members_reference", "members_timing", "processes"}


@pytest.fixture
def run(call, monkeypatch):
    """Call a benchmark's main, with its names changed as given, and read the rows of the table that it writes."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()

    def run(name, *arguments, table, **changes):
        program = importlib.import_module(f"benchmarks.{name}")
        for key, value in changes.items():
            monkeypatch.setattr(program, key, value)
        ended = call(program, *arguments, "--out", "out")
        assert ended.code == 0, ended.err
        lines = [line for line in Path("out", table).read_text().splitlines() if not line.startswith("# ")]
        return list(csv.DictReader(lines))

    yield run
    torch.set_num_threads(threads)


def test_each_is_tested():
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == TESTED


def test_evaluation(run):
    settings = (
        "model=small_cnn",
        "method=deterministic,packed",
        "data.corrupted.source=null",
        "trainer.accelerator=cpu",
    )
    rows = run("evaluation", *settings, "--rounds", "1", "--threads", "1", table="evaluation.csv")
    assert [row["method"] for row in rows] == ["deterministic", "packed"]
    assert all(int(row["images"]) > 0 and float(row["ratio"]) > 0 for row in rows)


def test_epoch(run):
    def fastest(works, rounds):
        """Run each work, by a clock on which a run's epoch takes three seconds and a plain one two."""
        for work in works.values():
            work()
        pace = {"train_run": 3, "train_plainly": 2}
        return {(way, length): (0, 7 + pace[way.__name__] * length) for way, length in works}

    settings = "model=small_cnn", "method=deterministic,packed", "--rounds=1"
    rows = run("epoch", *settings, table="epoch.csv", SHORT=1, LONG=3, fastest=fastest)
    assert [row["method"] for row in rows] == ["deterministic", "packed"]
    assert all((row["run, ms"], row["plain loop, ms"], row["ratio"]) == ("3000", "2000", "1.5") for row in rows)


def test_forms(run):
    small = ("--networks", "wrn16_1", "--methods", "packed", "--batch-size", "2", "--rounds", "2")
    rows = run("forms", *small, table="forms.csv")
    assert [row["form"] for row in rows] == ["single", "loop", "grouped", "by hand"]
    operations = {row["form"]: int(row["operations"]) for row in rows}
    assert operations["single"] < operations["by hand"] <= operations["grouped"] < operations["loop"]
    assert "| wrn16_1 | packed | grouped |" in Path("out/forms.md").read_text()


def test_input_pipeline(run):
    small = ("--batch-size", "4", "--rounds", "1", "--batches", "1")
    rows = run("input_pipeline", *small, table="input_pipeline.csv", IMAGES=200)
    assert len(rows) == 3 and all(int(row["here"]) > 0 for row in rows)
    assert "torchvision, PIL" in Path("out/input_pipeline.md").read_text()


def test_image_files(run):
    small = ("--images", "8", "--batch-size", "4", "--workers", "0", "--rounds", "1")
    (row,) = run("image_files", *small, table="image_files.csv")
    assert row["workers"] == "0" and float(row["ratio, processor"]) > 0


def test_corruption_speed(run, monkeypatch):
    """Those of the released program's corruptions that are Pillow's alone; the others need OpenCV and scikit-image."""
    filters = SimpleNamespace(gaussian=None)
    for name, module in (("cv2", SimpleNamespace(setNumThreads=int)), ("skimage.filters", filters)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "skimage", SimpleNamespace(filters=filters))
    program = importlib.import_module("benchmarks.corruption_speed")
    own = [program.pixelate, program.jpeg_compression]
    rows = run("corruption_speed", "--images", "2", "--rounds", "1", table="corruption_speed.csv", RELEASED=own)
    assert [row["type"] for row in rows] == ["pixelate"] * 5 + ["jpeg_compression"] * 5
    image = Image.fromarray(program.random_pieces(1, program.SIDE, program.SIDE)[0])
    pixels = torch.from_numpy(np.array(image)).movedim(-1, 0)[None]
    for released, constant in ((program.pixelate, 0.4), (program.jpeg_compression, 15)):  # both of severity 3
        found = program.corrupt(pixels, released.__name__, 3)[0].movedim(0, -1).numpy()
        assert np.array_equal(found, released(image, constant))


@pytest.mark.slow
def test_members(run, tmp_path, monkeypatch):
    folder = tmp_path / "torch_uncertainty/models/classification/resnet"
    folder.mkdir(parents=True)
    for module, function in {"std": "", "batched": "batched_", "masked": "masked_", "packed": "packed_"}.items():
        (folder / f"{module}.py").write_text(
            "from torch import nn\n"
            f"def {function}resnet(in_channels, num_classes, arch, conv_bias, style, **settings):\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 32 * 32, num_classes))\n"
        )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    small = ("--methods", "mimo", "--batch-size", "2", "--rounds", "1", "--threads", "1")
    rows = run("members", *small, "--reference-python", sys.executable, table="members.csv")
    ours = [row["method"] for row in rows if row["library"] == "ensembles"]
    theirs = [row["method"] for row in rows if row["library"] == "torch-uncertainty"]
    assert ours == ["deterministic", "mimo"]
    assert theirs == ["deterministic", "batch_ensemble", "masksembles", "packed"]
    assert all(float(row["train_ms"]) > 0 for row in rows)


def test_corruptions(run, tmp_path, monkeypatch):
    class Same:
        def __init__(self, severity, seed=0):
            pass

        def __call__(self, image):
            return image

    package, transforms, corruption = (ModuleType(name) for name in ("torch_uncertainty", "transforms", "corruption"))
    corruption.__getattr__ = lambda name: Same
    transforms.corruption = corruption
    monkeypatch.setitem(sys.modules, "torch_uncertainty", package)
    monkeypatch.setitem(sys.modules, "torch_uncertainty.transforms", transforms)
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(256, size=(16, 16, 3), dtype=np.uint8)).save(
            f"photos/{i}.png"
        )
    reference = importlib.import_module("benchmarks.corruptions_reference")
    rows = run(
        "corruptions",
        *("--images", "photos", "--reference-python", "there"),
        table="comparison.csv",
        photographs=lambda: np.zeros((1, 40, 40, 3), dtype=np.uint8) + np.arange(40, dtype=np.uint8)[:, None],
        subprocess=SimpleNamespace(run=lambda command, check: reference.main(*map(str, command[2:]))),
    )
    assert len(rows) == 3 * 19 * 5
    assert all(row["reference_psnr"] == "inf" for row in rows if row["type"] != "spatter")
    assert "PSNR between the two" in Path("out/comparison.md").read_text()


@pytest.mark.slow
def test_processes(run):
    rows = run(
        "processes",
        table="losses.csv",
        METHODS=["packed"],
        PROCESSES=(1,),
        NETWORKS={"SmallCNN": ["model=small_cnn"]},
        ORDINARY={},
        COMMON=[*importlib.import_module("benchmarks.processes").COMMON, "recipe.epochs=1", "data.train_size=96"],
    )
    assert [row["method"] for row in rows] == ["packed", "deterministic"][: len(rows)]
    assert all(0 < float(row["loss on 1"]) < 5 for row in rows)
    assert "| SmallCNN | packed |" in Path("out/README.md").read_text()
