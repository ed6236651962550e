"""Batches from the processes that decode images, whether or not shared memory has room for them."""

import os
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image

from ensembles.data import image_files
from ensembles.data.mixing import MixDraw
from ensembles.data.sources import BatchIndices, MixedPairs
from tests.faults.zygote import ROOT

Free = namedtuple("Free", ("f_bavail", "f_frsize"))


def batch(pixels=2_000_000):
    labels = torch.arange(1000)
    mixed = MixedPairs(None, labels[3:5], labels[:2], MixDraw(0.5, 0.1, 0.2, 0.3))
    images = torch.randint(0, 256, (pixels,), dtype=torch.uint8)
    return BatchIndices("train", labels[1:3], labels[:2], torch.rand(2, 4)[:, ::2], mixed=mixed, pixels=images)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, tuple):
        return type(one) is type(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("spare", [2_000_000 - 1, 2_000_000])
def test_images_are_shared_where_there_is_room(monkeypatch, spare):
    monkeypatch.setattr(os, "statvfs", lambda place: Free((image_files.RESERVE + spare), 1))
    given = batch()
    content, pixels = image_files.pack(given)
    assert (pixels is not None) == (spare == 2_000_000)
    assert pixels is None or pixels.is_shared()
    assert len(content) < (5000 if pixels is not None else 2_005_000)  # views are sent as what they show
    assert same(image_files.unpack((content, pixels)), given)


def test_another_process_was_faster(monkeypatch):
    def full(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    given = batch(1000)
    packed = image_files.pack(given)
    assert packed[1] is None and same(image_files.unpack(packed), given)


DECODES = """
import sys, torch, pathlib
if __name__ == "__main__":
    torch.multiprocessing.set_sharing_strategy(sys.argv[2])
    from ensembles.data.class_folders import unlabelled_folder
    from ensembles.data.datamodule import EvalLoader
    from ensembles.data.image_files import ImageFiles
    from ensembles.data.labelled_set import LabelledSet
    from ensembles.errors import UserError
    class Data:
        rank_and_processes, eval_batch_size = (0, 1), 40
    paths = unlabelled_folder(pathlib.Path(sys.argv[1]), "data.ood").images.paths
    files = ImageFiles(paths, lambda image: image.resize((224, 224)))
    labelled = LabelledSet(files, torch.arange(len(paths)))
    try:
        batches = list(files.prefetch(EvalLoader(Data(), "test", labelled), 2))
    except UserError as error:
        print(f"error: {error}")
    else:
        print(all(torch.equal(batch.pixels, files.gather(batch.index)) for batch in batches), len(batches))
"""
LITTLE = "error: /dev/shm has no room for what several processes share (No space left on device): make it larger "
LITTLE += "(Docker's --shm-size=1g), or set data.num_workers=0.\n"


@pytest.mark.parametrize("strategy", ["file_descriptor", pytest.param("file_system", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("size", "said"), [("4k", LITTLE), ("2m", "True 3\n"), pytest.param("8m", "True 3\n", marks=pytest.mark.slow)]
)
def test_shared_memory_that_is_too_small(tmp_path, size, said, strategy):
    """Mounted for real in a name space of its own; a batch has 6 MB."""
    for number in range(120):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    mount = f'mount -t tmpfs -o size={size} none /dev/shm && exec "$@"'
    program = [sys.executable, "-c", DECODES, tmp_path, strategy]
    ended = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh", *program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout == said, ended.stderr


def test_workers_are_as_many_as_there_are_cpus_also_where_no_system_call_tells(one_each, monkeypatch):
    assert one_each(num_workers=0).workers == 0
    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # as on macOS
    assert one_each().workers >= 1
