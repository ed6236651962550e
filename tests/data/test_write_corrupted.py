import fcntl
import json

import numpy as np
import pytest
import torch

from ensembles.data import corrupted
from ensembles.data.corruptions import corrupt
from ensembles.errors import UserError

FEW = {"types": ["gaussian_noise", "jpeg_compression"], "severities": [1, 4]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_back_as_it_would_be_computed(three, evaluated, tmp_path):
    data = three(corrupted=FEW, eval_batch_size=4)
    assert corrupted.write_corrupted(data) == tmp_path / "three-C"
    array = np.load(tmp_path / "three-C/jpeg_compression.npy", allow_pickle=False)
    assert (array.shape, array.dtype) == ((75, 12, 12, 3), np.uint8)
    assert np.load(tmp_path / "three-C/labels.npy").tolist() == [0, 1, 2] * 25
    written, computed = (three(corrupted={"source": source, **FEW}) for source in ("written", "on_the_fly"))
    for name in computed.test_sets:
        for one, other in zip(evaluated(written, name), evaluated(computed, name), strict=True):
            assert torch.equal(one, other)


def test_the_whole_set_is_written_at_its_own_size_whatever_is_in_use(three, evaluated):
    corrupted.write_corrupted(three(corrupted={**FEW, "size": 2}, classes=[2, 1], image_size=16))
    images, labels = evaluated(three(corrupted={"source": "written", **FEW}), "corrupted/gaussian_noise/4")
    assert images.shape == (15, 3, 12, 12) and labels.bincount().tolist() == [5, 5, 5]


def test_an_interrupted_command_is_taken_up_again(three, tmp_path, monkeypatch):
    folder = tmp_path / "three-C"

    def interrupted(images, type, severity, start):
        if type == "jpeg_compression":
            raise KeyboardInterrupt
        return corrupt(images, type, severity, start=start)

    monkeypatch.setattr(corrupted, "corrupt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corrupted.write_corrupted(three(corrupted=FEW))
    assert names(folder) == [".lock", "checksums.json", "gaussian_noise.npy", "labels.npy"]
    (folder / ".123.fog.npy").write_bytes(b"half of it")  # as a killed process leaves it
    before = (folder / "gaussian_noise.npy").stat().st_mtime_ns
    monkeypatch.undo()
    corrupted.write_corrupted(three(corrupted=FEW))
    assert (folder / "gaussian_noise.npy").stat().st_mtime_ns == before
    assert names(folder) == [".lock", "checksums.json", "gaussian_noise.npy", "jpeg_compression.npy", "labels.npy"]


def test_a_file_that_changes_after_it_was_written_is_refused(three, tmp_path):
    corrupted.write_corrupted(three(corrupted=FEW))
    path = tmp_path / "three-C/gaussian_noise.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path} is not the file that .*checksums\.json lists"):
        three(corrupted={"source": "written", **FEW})
    path.unlink()
    corrupted.write_corrupted(three(corrupted=FEW))
    assert len(three(corrupted={"source": "written", **FEW}).test_sets) == 5


def test_copies_of_another_set_are_left_alone(three, tmp_path):
    (tmp_path / "three-C").mkdir()
    np.save(tmp_path / "three-C/labels.npy", np.zeros(75, np.int64))
    with pytest.raises(UserError, match=r"three-C holds copies of another set: set data\.corrupted\.root"):
        corrupted.write_corrupted(three(corrupted=FEW))
    assert not list(tmp_path.glob("three-C/*_*.npy"))


def test_two_processes_do_not_write_into_a_folder_at_once(three, tmp_path):
    (tmp_path / "three-C").mkdir()
    with open(tmp_path / "three-C/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="being written to by another process"):
            corrupted.write_corrupted(three(corrupted=FEW))


def test_a_folder_that_cannot_be_made_is_named(three, tmp_path):
    (tmp_path / "three-C").write_text("a file in the way")
    with pytest.raises(UserError, match=r"three-C cannot be written .*data\.corrupted\.root"):
        corrupted.write_corrupted(three(corrupted=FEW))


def test_grey_images_keep_one_channel(tmp_path):
    from ensembles.data import Digits

    data = Digits(8, root=str(tmp_path), corrupted={"types": ["contrast"]})
    corrupted.write_corrupted(data)
    assert np.load(tmp_path / "digits-C/contrast.npy").shape == (1800, 8, 8, 1)
    assert set(json.loads((tmp_path / "digits-C/checksums.json").read_text())) == {"contrast.npy", "labels.npy"}
    read = Digits(8, root=str(tmp_path), corrupted={"source": "written", "types": ["contrast"]})
    read.setup("test")
    computed = Digits(8, corrupted={"source": "on_the_fly", "types": ["contrast"]})
    computed.setup("test")
    for name in list(read.test_sets)[-5:]:
        batches = [
            data.pixels(next(iter(data.test_dataloader()[list(data.test_sets).index(name)])))
            for data in (read, computed)
        ]
        assert torch.equal(*batches)
