"""The official sets of small images, on small files in the official layout."""

import hashlib
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from ensembles.data import CIFAR10
from ensembles.data.files.download import Archive
from ensembles.data.sets import photographs
from ensembles.errors import UserError


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """A test part of SVHN with seven images, in a place of its own; returns its pixels and the file."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 7), dtype=np.uint8)
    path = tmp_path / "made/test_32x32.mat"
    path.parent.mkdir()
    savemat(path, {"X": pixels, "y": np.array([[1, 2, 10, 4, 5, 6, 7]]).T})
    entry = [path.as_uri(), path.name, md5(path)]
    monkeypatch.setitem(datasets.SVHN.split_list, "test", entry)
    return torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy()), path


@pytest.mark.parametrize("there", [True, False])
def test_svhn_is_read_or_downloaded(three, evaluated, svhn, tmp_path, there):
    pixels, path = svhn
    root = path.parent if there else tmp_path / "sets"
    data = three(ood_sets=["svhn"], sets_root=str(root), image_size=32)
    images, labels = evaluated(data, "ood/svhn")
    assert torch.equal(images, pixels) and (labels == -1).all()
    assert [file.name for file in root.iterdir()] == ["test_32x32.mat"]


def test_a_damaged_or_missing_svhn_is_named(three, svhn):
    _, path = svhn
    with pytest.raises(
        UserError, match=r"no .*test_32x32\.mat and data\.download is false.*leave svhn out of data\.ood_sets"
    ):
        three(ood_sets=["svhn"], download=False)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"test_32x32\.mat is truncated or not the official file"):
        three(ood_sets=["svhn"], sets_root=str(path.parent))


def test_svhn_has_no_labels_for_others(three, svhn):
    with pytest.raises(UserError, match="shift/svhn has no labels among the training classes"):
        three(shift_sets=["svhn"], sets_root=str(svhn[1].parent))


def test_sets_that_come_with_a_library_need_no_files(three, evaluated, tmp_path):
    data = three(ood_sets=["digits", "photos"], sets_root=str(tmp_path / "nowhere"), download=False, image_size=32)
    assert evaluated(data, "ood/digits")[0].shape == (1797, 3, 32, 32)
    photos, _ = evaluated(data, "ood/photos")
    assert photos.shape == (520, 3, 32, 32) and not torch.equal(photos[0, 0], photos[0, 1])  # in colour


def test_textures_are_all_images_of_the_archive(three, evaluated, tmp_path, monkeypatch):
    made = tmp_path / "made/dtd"
    for name in ("banded/banded_0002", "banded/banded_0004", "zigzagged/zigzagged_0001"):
        (made / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (14, 12), (len(name), 0, 0)).save(made / "images" / f"{name}.jpg")
    (made / "labels").mkdir()
    (made / "labels/train1.txt").write_text("banded/banded_0002.jpg\n")
    packed = tmp_path / "made/dtd-r1.0.1.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(made, "dtd")
    monkeypatch.setitem(photographs.ARCHIVES, "textures", Archive(packed.as_uri(), f"md5:{md5(packed)}", ("dtd",)))
    data = three(ood_sets=["textures"], sets_root=str(tmp_path / "sets"))
    assert data.test_sets["ood/textures"] == 3
    assert evaluated(data, "ood/textures")[0].shape == (3, 3, 12, 12)


@pytest.fixture
def corrupted_archive(tmp_path, monkeypatch):
    """CIFAR-10-C's archive with two of its arrays, of which CIFAR-10 is told."""
    folder = tmp_path / "made/CIFAR-10-C"
    folder.mkdir(parents=True)
    for name in ("fog", "frost"):
        np.save(folder / f"{name}.npy", np.full((50, 32, 32, 3), len(name), np.uint8))
    np.save(folder / "labels.npy", np.arange(50) % 10)
    packed = tmp_path / "made/CIFAR-10-C.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(folder, folder.name)
    monkeypatch.setattr(CIFAR10, "corrupted_archive", Archive(packed.as_uri(), f"md5:{md5(packed)}", (folder.name,)))


def copies(folder, **settings):
    return CIFAR10(4, root=str(folder), corrupted={"source": "written", **settings})._corrupted_sets


def test_the_official_corrupted_cifar_is_downloaded_and_its_contents_are_noted(corrupted_archive, tmp_path):
    root = tmp_path / "root"
    found = copies(root, types=["fog"], severities=[3])
    assert found["corrupted/fog/3"].labels.tolist() == list(range(10))
    assert sorted(path.name for path in root.iterdir()) == ["CIFAR-10-C", "CIFAR-10-C.tar"]
    changed = root / "CIFAR-10-C/fog.npy"
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    with pytest.raises(UserError, match=r"fog\.npy is not the file that"):
        copies(root, types=["fog"])


def test_copies_that_are_there_are_never_mixed_with_the_official_ones(corrupted_archive, tmp_path):
    root = tmp_path / "root"
    (root / "CIFAR-10-C").mkdir(parents=True)
    with pytest.raises(UserError, match=r"CIFAR-10-C has no fog: write it by ensembles corrupt"):
        copies(root, types=["fog"])
    assert [path.name for path in root.iterdir()] == ["CIFAR-10-C"]
    with pytest.raises(UserError, match=r"elsewhere has no fog"):
        copies(root, types=["fog"], root=str(root / "elsewhere"))
