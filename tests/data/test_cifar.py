import hashlib
import pickle
import tarfile

import numpy as np
import pytest
import torch
from torchvision import datasets

from ensembles.data import CIFAR10, CIFAR100
from ensembles.errors import UserError

FAMILIES = {"cifar10": (CIFAR10, 10), "cifar100": (CIFAR100, 100)}


BOTH = pytest.mark.parametrize("official", FAMILIES, indirect=True)


@pytest.fixture
def official(request, tmp_path, monkeypatch):
    """A small set in the official layout, as folder and as archive, whose checksums torchvision then expects."""
    family, classes = FAMILIES[getattr(request, "param", "cifar10")]
    random, source = np.random.default_rng(0), family.official
    folder = tmp_path / "made" / source.base_folder
    folder.mkdir(parents=True)

    def md5(path):
        return hashlib.md5(path.read_bytes()).hexdigest()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    def batch(count):
        labels = (np.arange(count) % classes).tolist()
        pixels = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        pixels[:, 0] = labels
        return {"data": pixels, "labels" if classes == 10 else "fine_labels": labels}

    per_file = 400 // len(source.train_list)
    monkeypatch.setattr(source, "train_list", [write(name, batch(per_file)) for name, _ in source.train_list])
    monkeypatch.setattr(source, "test_list", [write(name, batch(100)) for name, _ in source.test_list])
    _, checksum = write(source.meta["filename"], {source.meta["key"]: list(family.names)})
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": checksum})
    archive = tmp_path / "made" / source.filename
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, source.base_folder)
    monkeypatch.setattr(source, "tgz_md5", md5(archive))
    monkeypatch.setattr(source, "url", "http://127.0.0.1:9/" + source.filename)  # where nothing answers
    return family, archive, tmp_path / "root"


def load(family, root):
    data = family(batch_size=32, root=str(root))
    data.prepare_data()
    data.setup()
    return data


@BOTH
def test_the_unpacked_files_are_read(official):
    family, archive, _ = official
    data = load(family, archive.parent)
    assert [len(data.sets[name]) for name in ("train", "val", "test")] == [360, 40, 100]
    for examples in data.sets.values():  # the first pixel of each image is its label
        assert torch.equal(examples.images.pixels[examples.index, 0, 0, 0].long(), examples.labels)
    theirs = family.official(archive.parent, train=False)
    assert np.array_equal(data.sets["test"].images.pixels.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert list(data.class_names) == theirs.classes


@BOTH
def test_each_is_out_of_distribution_for_the_other(official, three, evaluated):
    family, archive, _ = official
    name = family.__name__.lower()
    data = three(ood_sets=[name], sets_root=str(archive.parent), image_size=32)
    images, labels = evaluated(data, f"ood/{name}")
    assert torch.equal(images, load(family, archive.parent).native_test.images.pixels)
    assert (labels == -1).all()


def test_the_archive_is_unpacked_where_only_it_is_there(official):
    family, archive, root = official
    root.mkdir()
    (root / archive.name).write_bytes(archive.read_bytes())
    assert len(load(family, root).sets["test"]) == 100
    assert sorted(path.name for path in root.iterdir()) == [family.official.base_folder, archive.name]


def test_a_damaged_file_is_replaced_from_the_archive(official):
    family, archive, _ = official
    batch = archive.parent / family.official.base_folder / family.official.train_list[0][0]
    batch.write_bytes(batch.read_bytes()[:100])
    assert len(load(family, archive.parent).sets["train"]) == 360


def test_what_is_missing_is_downloaded(official, monkeypatch):
    family, archive, root = official
    monkeypatch.setattr(family.official, "url", archive.as_uri())
    assert len(load(family, root).sets["test"]) == 100


def test_without_files_and_network_the_error_says_what_to_put_where(official):
    family, archive, root = official
    with pytest.raises(UserError, match=rf"no {root / archive.name}.*{family.official.base_folder} .*into {root}"):
        load(family, root)
    assert list(root.iterdir()) == []


def test_a_truncated_batch_is_named(official):
    family, archive, _ = official
    archive.unlink()
    batch = archive.parent / family.official.base_folder / family.official.test_list[0][0]
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{batch} is truncated"):
        load(family, archive.parent)


def test_what_is_known_before_the_files_are_there():
    data = CIFAR100(batch_size=32, root="nowhere", classes=["apple", 99])
    assert (data.num_classes, data.in_channels, data.image_size) == (2, 3, 32)
    assert data.class_names == ["apple", "worm"]
    assert (CIFAR10(32).num_classes, CIFAR100(32).num_classes) == (10, 100)
    assert datasets.CIFAR10.tgz_md5 == "c58f30108f718f92721af3b95e74349a"


def test_a_run_on_the_official_files_and_one_without_them(official, tiny):
    family, archive, _ = official
    arguments = (f"data={family.__name__.lower()}", "data.ood_sets=[]", "data.train_size=200", "recipe.epochs=1")
    ended = tiny(*arguments, "method=packed", f"data.root={archive.parent}")
    assert ended.code == 0 and "Results and plots" in ended.out, ended.err
    ended = tiny(*arguments, "seed=1")
    assert ended.code == 1
    (line,) = ended.err.strip().splitlines()
    assert "could not be downloaded" in line and "set data.root" in line
