"""Folders that hold what no picture is: each is named in one sentence, and nothing waits or runs in circles."""

import io
import os
import struct
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
