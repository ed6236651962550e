"""Folders of images: what identifies them, and what no picture is, each named in one sentence."""

import io
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from ensembles.data.class_folders import labelled_folder, unlabelled_folder
from ensembles.data.files.decode import open_rgb, size_of
from ensembles.data.files.fingerprint import contents_hash, fingerprint
from ensembles.errors import UserError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            picture(tmp_path / split / name / "1.png")
    return tmp_path


def with_chunk(kind, data):
    """A PNG with one more chunk after its header."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    whole, chunk = file.getvalue(), kind + data
    return whole[:33] + struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_metadata_that_unpack_to_too_much(tmp_path, kind):
    bomb = zlib.compress(bytes(2**27), 9)
    between = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    path = tmp_path / "bomb.png"
    path.write_bytes(with_chunk(kind, between + bomb))
    for look in (size_of, open_rgb):
        try:
            look(path)  # a library that leaves such a chunk unread is right too
        except UserError as error:
            assert "bomb.png is damaged" in str(error)


def test_a_pipe(photos):
    os.mkfifo(photos / "train" / "cat" / "2.png")
    for look in (size_of, open_rgb):
        with pytest.raises(UserError, match=r"2\.png is no regular file: remove it"):
            look(photos / "train" / "cat" / "2.png")
    assert len(unlabelled_folder(photos, "data.ood.mine").images) == 5


def test_a_link_to_a_folder_that_it_is_in(photos):
    (photos / "train" / "cat" / "loop").symlink_to(photos / "train")
    for look in (fingerprint, lambda folder: unlabelled_folder(folder, "data.ood.mine")):
        with pytest.raises(UserError, match="loop is a link to a folder that it is in itself: remove it"):
            look(photos)
    assert contents_hash(photos) is None


def test_a_link_to_itself(photos):
    (photos / "train" / "cat" / "self").symlink_to("self")
    for look in (fingerprint, lambda folder: unlabelled_folder(folder, "data.ood.mine")):
        with pytest.raises(UserError, match="self cannot be read"):
            look(photos)


def test_a_link_to_another_folder_is_followed(photos, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    picture(elsewhere / "3.png")
    (photos / "train" / "cat" / "more").symlink_to(elsewhere)
    assert len(unlabelled_folder(photos, "data.ood.mine").images) == 5


def test_a_class_folder_whose_name_is_no_text(photos):
    name = os.fsencode(photos / "train") + b"/caf\xe9"
    os.mkdir(name)
    with open(name + b"/1.png", "wb") as file:
        Image.new("RGB", (8, 8)).save(file, "PNG")
    for look in (fingerprint, lambda folder: labelled_folder(folder / "train", "data.shift.mine", ["cat", "dog"])):
        with pytest.raises(UserError, match="is not in UTF-8: rename it"):
            look(photos)
    assert len(unlabelled_folder(photos, "data.ood.mine").images) == 5


COUNTS = {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1}


def test_it_stays_when_the_folder_moves(image_folder, tmp_path):
    root = image_folder(COUNTS)
    before = fingerprint(root)
    shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    assert fingerprint(tmp_path / "elsewhere") == fingerprint(str(root)) == before


def test_it_changes_with_the_files(image_folder):
    root = image_folder(COUNTS)
    seen = {fingerprint(root)}
    (root / "train/dog/1.png").rename(root / "train/dog/2.png")
    seen.add(fingerprint(root))
    (root / "train/dog/2.png").rename(root / "train/cat/3.png")
    seen.add(fingerprint(root))
    Image.new("RGB", (8, 8)).save(root / "train/cat/3.png")  # same name, other content
    seen.add(fingerprint(root))
    image_folder({"val/cat": 1})
    seen.add(fingerprint(root))
    assert len(seen) == 5


def test_it_needs_no_torch(image_folder):
    root = image_folder(COUNTS)
    program = (
        "import sys; from ensembles.data.files.fingerprint import fingerprint;"
        "print(fingerprint(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == fingerprint(root)
