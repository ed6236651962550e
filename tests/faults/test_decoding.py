"""Image files that are decoded while a training runs: workers that die, files that are damaged."""

import io
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ensembles.data.class_folders import synsets
from ensembles.deal import Deal
from ensembles.methods import mimo
from tests.faults.experiments import differences, only

CLASSES = synsets()[:400:100]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """ImageNet's layout with four classes of twelve training images."""
    root = tmp_path_factory.mktemp("photos")
    for label, synset in enumerate(CLASSES):
        for part, count in (("train", 12), ("val", 3)):
            folder = root / part / synset
            folder.mkdir(parents=True)
            for n in range(count):
                pixels = np.random.default_rng([label, n, count]).integers(0, 256, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{n}.JPEG")
    return root


@pytest.fixture
def arguments(photos):
    return (
        "data=imagenet",
        f"data.root={photos}",
        f"data.classes=[{','.join(CLASSES)}]",
        "data.image_size=24",
        "data.num_workers=2",
        "model=small_cnn",
        "method=deterministic",
        "recipe=sgd",
        "recipe.epochs=3",
        "recipe.batch_size=8",
        "trainer.accelerator=cpu",
        "runtime.progress=false",
        "runtime.save_minutes=0",
    )


@pytest.fixture
def broken(photos):
    """One of the training images is cut."""
    path = photos / "train" / CLASSES[1] / "5.JPEG"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    yield path
    path.write_bytes(whole)


def error(started):
    assert started.wait() == 1, started.said
    lines = [line for line in started.said.splitlines() if line.strip()]
    assert len(lines) == 1, started.said
    (said,) = lines
    assert said.startswith("error: "), said
    return said


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def saved(folder):
    return lambda: list(folder.glob("runs/*/previous.ckpt"))


@pytest.fixture
def undisturbed(zygote, arguments, tmp_path):
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    assert zygote.start(*arguments, folder=folder).wait() == 0
    return only(folder)


@pytest.mark.slow
def test_a_worker_is_killed_and_then_all_get_sigterm(zygote, arguments, undisturbed, tmp_path):
    slow = "import time; from ensembles.data import image_files; read = image_files.open_rgb\n"
    slow += "def slowly(path):\n    time.sleep(0.02)\n    return read(path)\nimage_files.open_rgb = slowly"
    started = zygote.start(*arguments, folder=tmp_path, before=slow)
    started.until(saved(tmp_path))
    os.kill(children(started.pid)[0], signal.SIGKILL)
    said = error(started)
    assert "A process that decodes images has died" in said and "set a smaller data.num_workers" in said

    before = (only(tmp_path) / "last.ckpt").stat().st_mtime_ns
    started = zygote.start(*arguments, folder=tmp_path, before=slow)
    started.until(lambda: (only(tmp_path) / "last.ckpt").stat().st_mtime_ns != before)
    os.killpg(started.pid, signal.SIGTERM)
    assert started.wait() == 143 and "Stopped by SIGTERM in epoch" in started.said, started.said

    decoded = tmp_path / "decoded"
    count = "from ensembles.data import image_files; read = image_files.open_rgb\n"
    count += f"def counted(path):\n    open({str(decoded)!r}, 'a').write('x')\n    return read(path)\n"
    count += "image_files.open_rgb = counted"
    step, steps = map(int, re.search(r"epoch 1 after step (\d+) of (\d+)", started.said).groups())
    assert zygote.start(*arguments, folder=tmp_path, before=count).wait() == 0
    assert differences(undisturbed, only(tmp_path)) == []
    assert decoded.stat().st_size == 8 * (3 * steps - step) + 12  # what was done is not decoded again; and the test


def test_a_damaged_image(zygote, arguments, broken, tmp_path):
    said = error(zygote.start(*arguments, folder=tmp_path))
    assert f"{broken} is damaged" in said
    assert saved(tmp_path)  # the steps before
    started = zygote.start(*arguments, "data.skip_broken=true", folder=tmp_path)
    assert started.wait() == 0, started.said
    assert f"1 broken training image was replaced by another: {broken}." in started.said


@pytest.mark.parametrize("deal", [Deal(), mimo.deal(M=3, rho=0.5, batch_repetition=2)])
def test_another_image_stands_in_with_its_label(photos, broken, deal):
    from ensembles.data import ImageNet

    settings = {"root": str(photos), "classes": CLASSES, "val_fraction": 0, "num_workers": 0, "image_size": 24}
    data = ImageNet(48, **settings, skip_broken=True)
    data.deal = deal
    data.setup("fit")
    (batch,) = data.train_dataloader()
    x, y = data.on_after_batch_transfer(batch, 0)
    images = {}
    for path, label in zip(data.sets["train"].images.paths, data.sets["train"].labels.tolist(), strict=True):
        if os.fsdecode(path) != str(broken):
            image = data.view(Image.open(io.BytesIO(Path(os.fsdecode(path)).read_bytes())))
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
            images[data.normalise(pixels).numpy().tobytes()] = label
    shown = [image.contiguous().numpy().tobytes() for image in x.flatten(0, -4)]
    assert [images[image] for image in shown] == y.flatten().tolist()  # none is unknown, none has another's label
    assert len(set(shown)) == 47
