import hashlib
import os

import pytest

from ensembles.data.files import download
from ensembles.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"first")
    (tmp_path / "b.npy").write_bytes(b"second")
    download.record_checksums(tmp_path, ["a.npy", "b.npy"])
    return tmp_path


def test_a_checksum_names_its_algorithm(folder):
    assert download.has_checksum(folder / "a.npy", "md5:" + hashlib.md5(b"first").hexdigest())
    assert download.has_checksum(folder / "a.npy", "sha256:" + hashlib.sha256(b"first").hexdigest())
    assert not download.has_checksum(folder / "a.npy", "md5:" + hashlib.md5(b"second").hexdigest())
    assert not download.has_checksum(folder / "c.npy", "md5:" + hashlib.md5(b"").hexdigest())


def test_files_as_they_were_pass(folder):
    download.check_recorded(folder, ["a.npy", "b.npy", "not on record"])
    assert download.recorded_files(folder) == {"a.npy", "b.npy"}
    download.record_checksums(folder, ["a.npy"])
    assert download.recorded_files(folder) == {"a.npy", "b.npy"}


@pytest.mark.parametrize("changed", [b"f1rst", b"firs", b""])
def test_a_changed_file_is_named(folder, changed):
    (folder / "a.npy").write_bytes(changed)
    os.utime(folder / "a.npy", (1, 1))
    with pytest.raises(UserError, match=r"a\.npy is not the file that .*checksums\.json lists: delete it"):
        download.check_recorded(folder, ["a.npy"])
    download.check_recorded(folder, ["b.npy"])


def test_a_missing_file_is_named(folder):
    (folder / "a.npy").unlink()
    with pytest.raises(UserError, match=r"a\.npy is missing"):
        download.check_recorded(folder, ["a.npy"])


def test_a_file_is_read_again_only_when_it_may_have_changed(folder, monkeypatch):
    os.utime(folder / "a.npy", (1, 1))  # as after copying: another time, the same content
    read = []
    monkeypatch.setattr(
        download, "_digest", lambda path, algorithm, d=download._digest: read.append(path) or d(path, algorithm)
    )
    download.check_recorded(folder, ["a.npy", "b.npy"])
    assert {path.name for path in read} == {"a.npy"}
    read.clear()
    download.check_recorded(folder, ["a.npy", "b.npy"])
    assert read == []


def test_a_damaged_record_is_named(folder):
    (folder / "checksums.json").write_text("{")
    with pytest.raises(UserError, match=r"checksums\.json cannot be read"):
        download.check_recorded(folder, ["a.npy"])
