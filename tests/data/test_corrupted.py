"""Corrupted copies of a test set: computed, read, and written, also by the command."""

import fcntl
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from ensembles.data import corrupted
from ensembles.data.corrupted import CorruptedCopies
from ensembles.data.corruptions import STANDARD, corrupt
from ensembles.errors import UserError

FEW = {"types": ["gaussian_noise", "fog"], "severities": [2, 5]}
LABELS = np.arange(75) % 15 % 3
CELLS = [f"corrupted/{type}/{severity}" for type in FEW["types"] for severity in FEW["severities"]]


def test_copies_are_computed_batch_by_batch_as_the_whole_set_would_be(three, evaluated):
    data = three(corrupted={"source": "on_the_fly", **FEW}, eval_batch_size=4)
    assert data.test_sets == {"test": 15, **dict.fromkeys(CELLS, 15)}
    clean, labels = evaluated(data, "test")
    for name in CELLS:
        _, type, severity = name.split("/")
        images, found = evaluated(data, name)
        assert torch.equal(images, corrupt(clean, type, int(severity)))
        assert torch.equal(found, labels)


@pytest.mark.parametrize("types, number", [("standard", 15), ("extra", 4), ("all", 19), (["fog"], 1)])
def test_types_are_picked_by_group_or_name(types, number):
    assert len(CorruptedCopies("on_the_fly", types).types) == number


def test_the_default_is_the_standard_types_at_five_severities(three):
    chosen = CorruptedCopies("on_the_fly")
    assert (tuple(chosen.types), list(chosen.severities)) == (STANDARD, [1, 2, 3, 4, 5])
    assert three().test_sets == {"test": 15}


def test_a_subset_is_stratified_and_the_same_in_each_copy(three, evaluated):
    data = three(corrupted={"source": "on_the_fly", "types": ["brightness"], "size": 6})
    clean, _ = evaluated(data, "test")
    taken = data.sets["corrupted/brightness/1"].index
    for severity in range(1, 6):
        name = f"corrupted/brightness/{severity}"
        images, labels = evaluated(data, name)
        assert torch.equal(images, corrupt(clean[taken], "brightness", severity))
        assert labels.bincount().tolist() == [2, 2, 2]


def test_processes_compute_the_copies_that_one_would(three, process, evaluated):
    data = three(corrupted={"source": "on_the_fly", **FEW}, eval_batch_size=3)
    whole = {name: evaluated(data, name)[0] for name in CELLS}
    shares = []
    for rank in range(4):
        process(data, rank, 4)
        shares.append({name: evaluated(data, name)[0] for name in CELLS})
    for name in CELLS:
        assert torch.equal(torch.cat([share[name] for share in shares]), whole[name])


def test_images_are_corrupted_at_their_own_size_and_then_resized(three, evaluated):
    data = three(corrupted={"source": "on_the_fly", **FEW}, image_size=20)
    native = data.native_test.images.pixels
    assert native.shape == (15, 3, 12, 12)
    assert torch.equal(evaluated(data, "corrupted/fog/5")[0], F.resize(corrupt(native, "fog", 5), [20, 20]))


def test_classes_in_use_are_numbered_anew_in_the_copies_too(three, evaluated):
    data = three(corrupted={"source": "on_the_fly", **FEW}, classes=["cow", "ant"])
    images, labels = evaluated(data, "corrupted/fog/2")
    clean, expected = evaluated(data, "test")
    assert torch.equal(labels, expected) and set(labels.tolist()) == {0, 1}
    assert torch.equal(images, corrupt(clean, "fog", 2))


@pytest.fixture
def official(tmp_path):
    """Write copies of the test set of three classes in the layout of CIFAR-10-C, with other contents for each cell."""

    def make(folder="three-C", types=FEW["types"], shape=(75, 12, 12, 3), labels=LABELS):
        root = tmp_path / folder
        root.mkdir(parents=True)
        random = np.random.default_rng(0)
        arrays = {type: random.integers(0, 256, shape, dtype=np.uint8) for type in types}
        for type, array in arrays.items():
            np.save(root / f"{type}.npy", array)
        if labels is not None:
            np.save(root / "labels.npy", labels)
        return arrays

    return make


def test_official_arrays_hold_the_severities_one_after_the_other(three, evaluated, official):
    arrays = official()
    data = three(corrupted={"source": "written", **FEW}, eval_batch_size=4)
    for name in CELLS:
        _, type, severity = name.split("/")
        part = arrays[type][15 * (int(severity) - 1) : 15 * int(severity)]
        images, labels = evaluated(data, name)
        assert np.array_equal(images.numpy(), part.transpose(0, 3, 1, 2))
        assert labels.tolist() == [0, 1, 2] * 5
    assert isinstance(data.sets[CELLS[0]].images.array, np.memmap)


def test_written_copies_can_be_elsewhere_of_another_size_and_a_subset_of_them(three, evaluated, official, tmp_path):
    arrays = official("elsewhere/copies")
    where = str(tmp_path / "elsewhere/copies")
    data = three(corrupted={"source": "written", **FEW, "root": where, "size": 3}, image_size=16, classes=[2, 0])
    images, labels = evaluated(data, "corrupted/fog/2")
    taken = data.sets["corrupted/fog/2"].index.numpy()
    assert [index % 3 for index in taken] == [[2, 0][label] for label in labels]
    assert torch.equal(images, F.resize(torch.from_numpy(arrays["fog"][taken]).permute(0, 3, 1, 2), [16, 16]))
    others = data.sets["corrupted/gaussian_noise/5"].index.numpy()
    assert (taken % 15).tolist() == (others % 15).tolist()


def test_class_folders_are_read_as_copies_too(three, evaluated, tmp_path):
    random = np.random.default_rng(0)
    written = []
    for name in ("ant", "bee", "cow"):
        folder = tmp_path / "three-C/fog/2" / name
        folder.mkdir(parents=True)
        for number in range(2):
            written.append(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            Image.fromarray(written[-1]).save(folder / f"{number}.png")
    data = three(corrupted={"source": "written", "types": ["fog"], "severities": [2]})
    images, labels = evaluated(data, "corrupted/fog/2")
    assert np.array_equal(images.numpy(), np.stack(written).transpose(0, 3, 1, 2))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "made, message",
    [
        (None, r"three-C has no gaussian_noise: write it by ensembles corrupt .*data\.corrupted\.source=on"),
        ({"types": ["fog"]}, r"three-C has no gaussian_noise"),
        ({"labels": None}, r"There is no .*labels\.npy"),
        ({"labels": np.arange(75) % 4}, r"labels\.npy has labels from 0 to 3, but the classes are 0 to 2"),
        ({"labels": np.arange(75) - 1}, r"labels\.npy has labels from -1 to 73"),
        ({"labels": np.arange(74) % 3}, r"labels\.npy has 74 labels"),
        ({"labels": np.arange(75) / 2}, r"labels\.npy holds float64"),
        ({"labels": np.array([{}], dtype=object)}, r"labels\.npy was not loaded, since it is pickled"),
        ({"shape": (74, 12, 12, 3)}, r"gaussian_noise\.npy holds uint8 \(74, 12, 12, 3\)"),
        ({"shape": (75, 12, 12, 1)}, r"gaussian_noise\.npy holds uint8 \(75, 12, 12, 1\)"),
    ],
)
def test_written_copies_that_cannot_work_are_named(three, official, made, message):
    if made is not None:
        official(**made)
    with pytest.raises(UserError, match=message):
        three(corrupted={"source": "written", **FEW})


def test_a_truncated_copy_is_named(three, official, tmp_path):
    official()
    path = tmp_path / "three-C/fog.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{path} was not loaded, since it is truncated"):
        three(corrupted={"source": "written", **FEW})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"source": "yes"}, r"data\.corrupted\.source is 'yes', but must be written or on_the_fly, or null"),
        ({"types": "most"}, r"data\.corrupted\.types is 'most', but must be standard, extra, all"),
        ({"types": ["fogg"]}, r"no corruption 'fogg'; did you mean fog"),
        ({"types": []}, r"no types"),
        ({"severities": [0]}, r"severity .* is 0"),
        ({"severities": []}, r"no severities"),
        ({"severity": [1]}, r"data\.corrupted has 'severity', but has source, types, severities, size, root only"),
        ({"size": 0}, r"data\.corrupted\.size is 0"),
        ({"size": True}, r"data\.corrupted\.size is True"),
        ({"size": 16, "source": "on_the_fly"}, r"data\.corrupted\.size is 16, but the test set has 15"),
    ],
)
def test_a_setting_that_does_not_exist_is_named(three, settings, message):
    with pytest.raises(UserError, match=message):
        three(corrupted=settings)


def test_images_that_cannot_be_corrupted_are_named(one_each):
    with pytest.raises(UserError, match="6x6 pixels"):
        one_each(corrupted={"source": "on_the_fly"})


WRITTEN = {"types": ["gaussian_noise", "jpeg_compression"], "severities": [1, 4]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_back_as_it_would_be_computed(three, evaluated, tmp_path):
    data = three(corrupted=WRITTEN, eval_batch_size=4)
    assert corrupted.write_corrupted(data) == tmp_path / "three-C"
    array = np.load(tmp_path / "three-C/jpeg_compression.npy", allow_pickle=False)
    assert (array.shape, array.dtype) == ((75, 12, 12, 3), np.uint8)
    assert np.load(tmp_path / "three-C/labels.npy").tolist() == [0, 1, 2] * 25
    written, computed = (three(corrupted={"source": source, **WRITTEN}) for source in ("written", "on_the_fly"))
    for name in computed.test_sets:
        for one, other in zip(evaluated(written, name), evaluated(computed, name), strict=True):
            assert torch.equal(one, other)


def test_the_whole_set_is_written_at_its_own_size_whatever_is_in_use(three, evaluated):
    corrupted.write_corrupted(three(corrupted={**WRITTEN, "size": 2}, classes=[2, 1], image_size=16))
    images, labels = evaluated(three(corrupted={"source": "written", **WRITTEN}), "corrupted/gaussian_noise/4")
    assert images.shape == (15, 3, 12, 12) and labels.bincount().tolist() == [5, 5, 5]


def test_an_interrupted_command_is_taken_up_again(three, tmp_path, monkeypatch):
    folder = tmp_path / "three-C"

    def interrupted(images, type, severity, start):
        if type == "jpeg_compression":
            raise KeyboardInterrupt
        return corrupt(images, type, severity, start=start)

    monkeypatch.setattr(corrupted, "corrupt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corrupted.write_corrupted(three(corrupted=WRITTEN))
    assert names(folder) == [".lock", "checksums.json", "gaussian_noise.npy", "labels.npy"]
    (folder / ".123.fog.npy").write_bytes(b"half of it")  # as a killed process leaves it
    before = (folder / "gaussian_noise.npy").stat().st_mtime_ns
    monkeypatch.undo()
    corrupted.write_corrupted(three(corrupted=WRITTEN))
    assert (folder / "gaussian_noise.npy").stat().st_mtime_ns == before
    assert names(folder) == [".lock", "checksums.json", "gaussian_noise.npy", "jpeg_compression.npy", "labels.npy"]


def test_a_file_that_changes_after_it_was_written_is_refused(three, tmp_path):
    corrupted.write_corrupted(three(corrupted=WRITTEN))
    path = tmp_path / "three-C/gaussian_noise.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path} is not the file that .*checksums\.json lists"):
        three(corrupted={"source": "written", **WRITTEN})
    path.unlink()
    corrupted.write_corrupted(three(corrupted=WRITTEN))
    assert len(three(corrupted={"source": "written", **WRITTEN}).test_sets) == 5


def test_copies_of_another_set_are_left_alone(three, tmp_path):
    (tmp_path / "three-C").mkdir()
    np.save(tmp_path / "three-C/labels.npy", np.zeros(75, np.int64))
    with pytest.raises(UserError, match=r"three-C holds copies of another set: set data\.corrupted\.root"):
        corrupted.write_corrupted(three(corrupted=WRITTEN))
    assert not list(tmp_path.glob("three-C/*_*.npy"))


def test_two_processes_do_not_write_into_a_folder_at_once(three, tmp_path):
    (tmp_path / "three-C").mkdir()
    with open(tmp_path / "three-C/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="being worked on by another process: wait"):
            corrupted.write_corrupted(three(corrupted=WRITTEN))


def test_a_folder_that_cannot_be_made_is_named(three, tmp_path):
    (tmp_path / "three-C").write_text("a file in the way")
    with pytest.raises(UserError, match=r"three-C cannot be written .*data\.corrupted\.root"):
        corrupted.write_corrupted(three(corrupted=WRITTEN))


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


def test_class_folders_of_copies_are_grey_for_a_grey_network(tmp_path):
    from ensembles.data import Digits

    for name in Digits.names:
        folder = tmp_path / "digits-C/fog/2" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (9, 9), (200, 100, 0)).save(folder / "0.png")
    copies = {"source": "written", "types": ["fog"], "severities": [2]}
    data = Digits(8, root=str(tmp_path), num_workers=0, corrupted=copies)
    data.setup("test")
    images = data.sets["corrupted/fog/2"].images
    assert images.gather(torch.arange(10)).shape == (10, 1, 8, 8)


@pytest.fixture
def command(call):
    """Call the script."""
    from ensembles.commands import corrupt as program

    return partial(call, program)


COMMANDED = ("data.corrupted.types=[fog,contrast]", "trainer.accelerator=cpu")


def test_it_writes_the_copy_of_any_set_and_training_reads_it(command, tiny, image_folder):
    image_folder({"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 4}, size=(16, 16), root=Path("photos"))
    photos = ("data=image_folder", "data.root=photos", "data.num_workers=1")
    code, out, err = command(*photos, *COMMANDED)
    assert (code, out) == (0, "photos-C: fog, contrast\n"), err
    assert np.load("photos-C/fog.npy").shape == (35, 16, 16, 3)
    assert np.load("photos-C/labels.npy").tolist() == [0, 0, 0, 1, 1, 1, 1] * 5
    quick = ("data.train_size=null", "recipe.epochs=1", "recipe.batch_size=8")
    ended = tiny(*photos, *COMMANDED, *quick, "data.corrupted.source=written")
    assert ended.code == 0, ended.err
    (results,) = Path("runs").glob("*/results.json")
    assert all(
        f'"corrupted/{type}/{severity}/acc"' in results.read_text()
        for type in ("fog", "contrast")
        for severity in range(1, 6)
    )


def test_several_sets_are_written_one_after_the_other(command):
    code, out, err = command("data=digits", "data.root=a,b", *COMMANDED)
    assert (code, out) == (0, "a/digits-C: fog, contrast\nb/digits-C: fog, contrast\n"), err


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("data=digitz",), "There is no data=digitz: did you mean digits?"),
        (
            ("data.corrupted.types=foggy",),
            "data.corrupted.types is 'foggy', but must be standard, extra, all or a list.",
        ),
        (("data.corrupted.typs=all",), "did you mean data.corrupted.types?"),
        (("data=image_folder",), "data.root is not set"),
        (
            ("data=cifar10", "data.download=false", "data.root=nowhere"),
            "put that file, or the folder cifar-10-batches-py",
        ),
    ],
)
def test_what_cannot_work_is_named_in_one_sentence(command, arguments, sentence):
    code, out, err = command(*arguments)
    assert code == 1 and out == ""
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert not list(Path().rglob("*.npy"))
