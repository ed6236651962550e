import os
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ensembles.data import ImageFolder
from ensembles.data.files.decode import write_cache
from ensembles.errors import UserError
from ensembles.files import alone_in
from tests.faults.zygote import ROOT

COUNTS = {"train/cat": 12, "train/dog": 12, "test/cat": 4, "test/dog": 4}


@pytest.fixture
def load(image_folder, tmp_path):
    image_folder(COUNTS, size=(32, 32))

    def load(**settings):
        cache = str(tmp_path / "cache")
        data = ImageFolder(batch_size=4, root=str(tmp_path / "images"), cache_dir=cache, num_workers=1, **settings)
        data.setup()
        return data

    return load


def content(data):
    return data.sets["train"].images.pixels, data.sets["test"].images.pixels, data.mean, data.std


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one[:2], other[:2], strict=True)) and one[2:] == other[2:]


def no_decoding(*args):
    raise AssertionError("decoded again")


def test_images_are_decoded_once(load, tmp_path, monkeypatch):
    first = content(load())
    assert len(list((tmp_path / "cache").glob("images-*.npz"))) == 1
    monkeypatch.setattr("ensembles.data.folder.decode", no_decoding)
    assert same(content(load()), first)


def truncate(path):
    os.truncate(path, 5000)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)


def write_rubbish(path):
    path.write_text("[1, 2")


def of_other_images(path):
    np.savez(path, images=np.zeros((1, 3, 8, 8), np.uint8), mean=[0.0], std=[1.0])


def pickle_it(path):
    np.savez(path, images=np.array([{}], dtype=object))


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, write_rubbish, of_other_images, pickle_it])
def test_a_damaged_cache_is_made_again(load, tmp_path, monkeypatch, damage):
    first = content(load())
    (path,) = (tmp_path / "cache").iterdir()
    damage(path)
    assert same(content(load()), first)
    assert list((tmp_path / "cache").iterdir()) == [path]
    monkeypatch.setattr("ensembles.data.folder.decode", no_decoding)
    assert same(content(load()), first)


def test_a_changed_image_is_decoded_again(load, tmp_path):
    path = tmp_path / "images/test/cat/0.png"
    Image.new("RGB", (32, 32), (3, 2, 1)).save(path)
    load()
    before = path.stat()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(path)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as copying a file can
    assert load().sets["test"].images.pixels[0, :, 5, 5].tolist() == [1, 2, 3]


def test_each_size_is_kept_apart(load):
    assert load(image_size=16).sets["test"].images.pixels.shape == (8, 3, 16, 16)
    assert load().sets["test"].images.pixels.shape == (8, 3, 32, 32)


def test_a_full_disk_is_named_and_leaves_nothing_behind(load, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # the images take 98,304 bytes
    try:
        with pytest.raises(UserError, match=r"cannot be written to .*data\.cache_dir"):
            load()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_named(load, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot be written to .*data\.cache_dir"):
        load()


WRITES_AND_IS_KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from ensembles.data.files.decode import write_cache
save = np.savez
def struck(*arguments, **arrays):
    save(*arguments, **arrays)
    os.kill(os.getpid(), signal.SIGKILL)
np.savez = struck
write_cache(Path(sys.argv[1]), images=np.zeros((4, 3, 8, 8), np.uint8))
"""


def test_what_a_killed_process_has_left_is_removed(load, tmp_path):
    place = tmp_path / "cache/other-0123456789abcdef.npz"
    subprocess.run([sys.executable, "-c", WRITES_AND_IS_KILLED, place], cwd=ROOT, check=False)
    (tmp_path / "cache/.of the user").mkdir()
    assert len(list((tmp_path / "cache").iterdir())) == 2
    load()
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir()) == [".of the user", "images"]


def test_who_writes_is_not_disturbed(tmp_path):
    """Another one that wants to write waits."""
    images = np.zeros((4, 3, 8, 8), np.uint8)
    with alone_in(tmp_path):
        draft = tmp_path / ".a.npz.1.draft"
        draft.touch()
        other = threading.Thread(target=write_cache, args=(tmp_path / "b.npz",), kwargs={"images": images})
        other.start()
        other.join(0.3)
        assert other.is_alive() and draft.exists()
    other.join()
    assert [path.name for path in tmp_path.iterdir()] == ["b.npz"]
