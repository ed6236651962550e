"""Official files: downloaded, taken up again, checked, and checked again only where they may have changed."""

import hashlib
import os
import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ensembles.data.files import download, progress
from ensembles.errors import UserError

CONTENT = os.urandom(3_000_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; ``cuts`` says after how many bytes it breaks off, answer by answer; then it answers whole."""

    def do_GET(self):
        self.state["asked"].append(self.headers.get("Range"))
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.state["ranges"] else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        rest = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.state["cuts"].pop(0)] if self.state["cuts"] else rest)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Starts a server on this machine: what it was asked for is in ``asked``."""
    state = {"asked": [], "ranges": True, "cuts": []}
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Server,), {"state": state}))
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    state["url"] = f"http://127.0.0.1:{running.server_port}/file.tar?download=1"
    yield state
    running.shutdown()
    running.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    target = tmp_path / "new" / "file.tar"
    return partial(download.fetch, server["url"], target, instead="put it there"), target


def kept(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_arrives_whole_and_once(fetch, server):
    get, target = fetch
    get(checksum=MD5)
    get(checksum=MD5)
    assert target.read_bytes() == CONTENT
    assert kept(target) == ["file.tar"]
    assert server["asked"] == [None]


def test_a_connection_that_breaks_off_is_taken_up_again(fetch, server):
    get, target = fetch
    server["cuts"] = [1_000_000, 500_000]
    get(checksum=MD5)
    assert target.read_bytes() == CONTENT
    assert server["asked"] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_an_interrupted_download_goes_on_with_the_next_command(fetch, server):
    get, target = fetch
    server["cuts"] = [1_000_000, 0]
    with pytest.raises(
        UserError, match=r"broke off after 1,000,000 of 3,000,000 bytes.*goes on from there.*put it there"
    ):
        get(checksum=MD5)
    assert kept(target) == [".file.tar.part"]
    get(checksum=MD5)
    assert target.read_bytes() == CONTENT
    assert server["asked"][-1] == "bytes=1000000-"
    assert kept(target) == ["file.tar"]


def test_a_user_who_interrupts_finds_nothing_under_the_final_name(fetch, monkeypatch):
    get, target = fetch

    def interrupted(answer):
        yield 4, answer.read(4)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(checksum=MD5)
    assert not target.exists()
    monkeypatch.undo()
    get(checksum=MD5)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("part", [CONTENT[:1000], b"of another file" * 1000, CONTENT, CONTENT + b"more"])
def test_what_an_earlier_attempt_left_does_no_harm(fetch, server, ranges, part):
    get, target = fetch
    server["ranges"] = ranges
    target.parent.mkdir()
    target.with_name(".file.tar.part").write_bytes(part)
    get(checksum=MD5)
    assert target.read_bytes() == CONTENT
    assert kept(target) == ["file.tar"]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_another_file_than_the_official_one_is_refused(fetch, algorithm):
    get, target = fetch
    with pytest.raises(
        UserError, match=rf"no {re.escape(str(target))}, and .*not the official file.*: put it there\.$"
    ):
        get(checksum=f"{algorithm}:0123")
    assert kept(target) == []


def test_without_a_network_nothing_is_left_behind(fetch, tmp_path):
    target = tmp_path / "data" / "x.mat"
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/x\.mat could not be downloaded.*: leave it out\.$"):
        download.fetch("http://127.0.0.1:9/x.mat", target, MD5, "leave it out")
    assert kept(target) == []


def test_a_page_that_is_not_there_is_named(fetch, server, monkeypatch):
    get, target = fetch
    monkeypatch.setattr(Server, "do_GET", lambda self: self.send_error(404))
    with pytest.raises(UserError, match="404"):
        get(checksum=MD5)
    assert kept(target) == []


def test_quick_work_shows_nothing(capsys):
    assert list(progress.when_slow([(2, "a"), (3, "b")], 5, "Counting")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_a_slow_download_shows_how_far_it_is(fetch, monkeypatch, capsys):
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    fetch[0](checksum=MD5)
    shown = capsys.readouterr().err
    assert "Downloading file.tar" in shown and "3.0" in shown and "MB" in shown


def test_two_processes_download_a_file_once(fetch, server):
    get, target = fetch
    threads = [threading.Thread(target=get, kwargs={"checksum": MD5}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert server["asked"] == [None]


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


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "cannot be read"), ("[]", "is no record"), ("5", "is no record"), ('{"a.npy": 5}', "is no record")],
)
def test_a_damaged_record_is_named(folder, content, said):
    (folder / "checksums.json").write_text(content)
    with pytest.raises(UserError, match=rf"checksums\.json {said}.*: delete it"):
        download.check_recorded(folder, ["a.npy"])
