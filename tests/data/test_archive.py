import hashlib
import io
import subprocess
import sys
import tarfile

import pytest

from ensembles.data.files.download import Archive, SetLocation, official_file, provide_folders, unpacked
from ensembles.errors import UserError
from tests.faults.zygote import ROOT


@pytest.fixture
def pack(tmp_path):
    """Writes a tar archive: {member: content}, where a content that is a TarInfo is put in as it is."""

    def make(members, name="set.tar.gz"):
        path = tmp_path / "made" / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
            for member, content in members.items():
                if isinstance(content, tarfile.TarInfo):
                    tar.addfile(content)
                    continue
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path, Archive(path.as_uri(), "md5:" + hashlib.md5(path.read_bytes()).hexdigest(), ("set",))

    return make


@pytest.fixture
def location(tmp_path):
    (tmp_path / "root").mkdir()
    return SetLocation(tmp_path / "root", True, "leave it out")


def content(folder):
    return sorted(path.name for path in folder.iterdir())


MEMBERS = {"set/cat/0.png": b"one", "set/dog/1.png": b"two", "README": b"hello"}


@pytest.mark.parametrize("name", ["set.tar.gz", "set.tar"])
def test_what_is_missing_is_downloaded_and_unpacked(pack, location, name):
    _, archive = pack(MEMBERS, name)
    provide_folders(archive, location)
    assert (location.root / "set/dog/1.png").read_bytes() == b"two"
    assert content(location.root) == ["set", name]


def test_an_archive_in_location_is_unpacked_and_a_folder_in_location_is_left_alone(pack, location):
    path, archive = pack(MEMBERS)
    path.rename(location.root / path.name)
    provide_folders(archive, location)
    (location.root / "set/cat/0.png").write_bytes(b"changed")
    (location.root / path.name).unlink()
    provide_folders(archive, location)
    assert (location.root / "set/cat/0.png").read_bytes() == b"changed"


def link(target):
    info = tarfile.TarInfo("set/link")
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    "member",
    [{"set/../../outside": b"x"}, {"../outside": b"x"}, {"set/link": link("../../outside")}, {"a": link("/etc")}],
)
def test_an_archive_that_climbs_out_of_its_folder_is_refused(pack, location, tmp_path, member):
    path, archive = pack({"set/cat/0.png": b"one", **member})
    with pytest.raises(UserError, match=rf"{path.name} was not unpacked, since .*(outside|absolute).*: delete it\.$"):
        provide_folders(archive, location)
    assert content(location.root) == [path.name]
    assert not list(tmp_path.glob("**/outside"))


@pytest.mark.parametrize("name", ["set.tar.gz", "set.tar"])
def test_a_truncated_archive_is_refused(pack, location, name):
    path, _ = pack({**MEMBERS, "set/large": bytes(range(256)) * 100}, name)
    cut = location.root / name
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{name} is damaged .*delete it"), unpacked(cut):
        pass
    assert content(location.root) == [name]


def test_an_archive_with_another_checksum_is_refused(pack, location):
    _, archive = pack(MEMBERS)
    (location.root / "set.tar.gz").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"set\.tar\.gz is truncated or not the official file: delete it"):
        provide_folders(archive, location)
    assert content(location.root) == ["set.tar.gz"]


def test_an_archive_without_the_folder_is_refused(pack, location):
    _, archive = pack({"other/0.png": b"one"})
    with pytest.raises(UserError, match="holds no folder set"):
        provide_folders(archive, location)
    assert content(location.root) == ["set.tar.gz"]


def test_nothing_is_downloaded_that_must_not_be(pack, location):
    _, archive = pack(MEMBERS)
    offline = SetLocation(location.root, False, "leave it out")
    with pytest.raises(UserError, match=r"data\.download is false.*folder set .*into .*root, or leave it out\.$"):
        provide_folders(archive, offline)
    with pytest.raises(UserError, match=r"data\.download is false.*; do this\.$"):
        official_file(archive.url, archive.checksum, offline, "do this")


def test_what_a_killed_process_has_unpacked_is_removed(pack, location):
    path, archive = pack(MEMBERS)
    path.rename(location.root / path.name)
    program = f"""
import os, signal
from pathlib import Path
from ensembles.data.files.download import unpacked
with unpacked(Path({str(location.root / path.name)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert len(content(location.root)) == 2
    provide_folders(archive, location)
    assert content(location.root) == ["set", path.name]
