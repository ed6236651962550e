import numpy as np
import pytest
import torch
from PIL import Image

from ensembles.data import Digits, LabelledSet
from ensembles.data.files.decode import cover
from ensembles.errors import UserError


def seen(path, size=12):
    return torch.from_numpy(np.array(cover(Image.open(path).convert("RGB"), size))).permute(2, 0, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_folder_is_an_out_of_distribution_set(three, image_folder, evaluated, tmp_path, workers):
    flat = image_folder({"things": 3}, size=(30, 17), root=tmp_path / "flat") / "things"
    sorted_ = image_folder({"a": 2, "b/c": 2}, size=(12, 12), root=tmp_path / "sorted")
    (flat / "README.txt").write_text("no image")
    (flat / ".hidden.png").write_bytes(b"no image either")
    data = three(ood={"flat": str(flat), "sorted": str(sorted_)}, eval_batch_size=2, num_workers=workers)
    assert data.test_sets == {"test": 15, "ood/flat": 3, "ood/sorted": 4}
    for name, paths in (("ood/flat", flat.glob("[0-9].png")), ("ood/sorted", sorted_.rglob("*.png"))):
        images, labels = evaluated(data, name)
        assert torch.equal(images, torch.stack([seen(path) for path in sorted(paths)]))
        assert (labels == -1).all()
        found = data.sets[name]
        assert found.covered_classes is found.valid_labels is found.groups is None


def test_a_shifted_set_has_class_folders_by_name_and_may_cover_a_part(three, image_folder, evaluated, tmp_path):
    all_three = image_folder({"cow": 1, "ant": 2, "bee": 1}, root=tmp_path / "all")
    two = image_folder({"cow": 3, "ant": 1}, root=tmp_path / "two")
    data = three(shift={"all": str(all_three), "two": str(two)})
    assert evaluated(data, "shift/all")[1].tolist() == [0, 0, 1, 2]
    images, labels = evaluated(data, "shift/two")
    assert labels.tolist() == [0, 2, 2, 2]
    paths = [two / "ant/0.png", *sorted((two / "cow").iterdir())]
    assert torch.equal(images, torch.stack([seen(path) for path in paths]))
    assert data.sets["shift/two"].covered_classes == [0, 2]
    assert data.sets["shift/all"].covered_classes is None


def test_labels_follow_the_classes_in_use(three, image_folder, evaluated, tmp_path):
    folder = image_folder({"cow": 3, "ant": 1, "bee": 2}, root=tmp_path / "shifted")
    data = three(shift={"x": str(folder)}, classes=["cow", "ant"])
    assert evaluated(data, "shift/x")[1].tolist() == [1, 0, 0, 0]
    assert data.sets["shift/x"].covered_classes is None
    assert list(data.test_sets) == ["test", "ood/left_out", "shift/x"]


def test_sets_of_ones_own_come_from_functions_too(three, evaluated):
    pixels = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)

    def load(classes):
        assert list(classes) == ["ant", "bee", "cow"]
        return LabelledSet(pixels, torch.tensor([2, 2, 0, 1]), covered_classes=[[0, 2], 1], groups=[[0, 1], [3, 2]])

    data = three(shift={"mine": load}, ood={"mine": load})
    images, labels = evaluated(data, "shift/mine")
    assert torch.equal(images, pixels) and labels.tolist() == [2, 2, 0, 1]
    assert data.sets["shift/mine"].covered_classes == [[0, 2], 1]
    assert data.sets["shift/mine"].groups == [[0, 1], [3, 2]]
    assert data.sets["ood/mine"].covered_classes is data.sets["ood/mine"].groups is None
    assert (evaluated(data, "ood/mine")[1] == -1).all()


def test_what_counts_as_one_class_still_does_where_some_classes_are_in_use(three, evaluated):
    pixels = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    alike = LabelledSet(pixels, torch.tensor([0, 0, 1, 1]), covered_classes=[[0, 2], 1], groups=[[0, 1], [1, 2], [3]])
    data = three(shift={"x": lambda classes: alike}, classes=[1, 2])
    images, labels = evaluated(data, "shift/x")
    assert len(images) == 4 and labels.tolist() == [1, 1, 0, 0]
    assert data.sets["shift/x"].covered_classes is None
    data = three(shift={"x": lambda classes: alike}, classes=[2, 0])
    images, labels = evaluated(data, "shift/x")
    assert torch.equal(images, pixels[:2]) and labels.tolist() == [1, 1]
    assert data.sets["shift/x"].covered_classes == [[1, 0]]
    assert data.sets["shift/x"].groups == [[0, 1]]


def test_several_right_classes_for_an_image_follow_the_classes_in_use(three, evaluated):
    valid = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1]]).bool()
    found = LabelledSet(
        torch.zeros(3, 3, 12, 12).byte(), torch.tensor([0, 1, 2]), covered_classes=[0, 1, 2], valid_labels=valid
    )
    assert torch.equal(three(shift={"x": lambda classes: found}).sets["shift/x"].valid_labels, valid)
    data = three(shift={"x": lambda classes: found}, classes=[2, 0])
    assert evaluated(data, "shift/x")[1].tolist() == [1, 0]
    assert data.sets["shift/x"].valid_labels.tolist() == [[False, True], [True, False]]


def test_a_grey_network_sees_colours_as_grey(image_folder, tmp_path):
    folder = image_folder({"x": 2}, size=(20, 20), root=tmp_path / "ood")
    data = Digits(8, ood={"x": str(folder)}, num_workers=0)
    data.setup("test")
    (loader,) = [loader for loader, name in zip(data.test_dataloader(), data.test_sets, strict=True) if name == "ood/x"]
    x, _ = data.on_after_batch_transfer(next(iter(loader)), 0)
    expected = np.array(cover(Image.open(folder / "x/0.png"), 8).convert("L"))
    assert np.abs((x[0, 0].numpy() * data.std[0] + data.mean[0]) * 255 - expected).max() < 0.01


def missing(root):
    return root / "nowhere"


def empty(root):
    (root / "empty").mkdir()
    return root / "empty"


def flat(root):
    (root / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(root / "flat/0.png")
    return root / "flat"


def of_another_class(root):
    (root / "x/cows").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "x/cows/0.png")
    return root / "x"


def with_an_empty_class(root):
    (root / "x/cow").mkdir(parents=True)
    return root / "x"


@pytest.mark.parametrize(
    "kind, make, message",
    [
        ("ood", missing, r"data\.ood\.mine=.*nowhere is not a folder"),
        ("ood", empty, r"data\.ood\.mine=.*empty holds no image"),
        ("shift", missing, r"data\.shift\.mine=.*nowhere is not a folder"),
        ("shift", flat, r"data\.shift\.mine=.*flat has no class folders"),
        ("shift", of_another_class, r"data\.shift\.mine: the class folder .*cows is of no training class.* cow,"),
        ("shift", with_an_empty_class, r"data\.shift\.mine: the class folder .*cow holds no image"),
    ],
)
def test_a_folder_that_cannot_work_is_named(three, tmp_path, kind, make, message):
    with pytest.raises(UserError, match=message):
        three(**{kind: {"mine": str(make(tmp_path))}})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"ood": ["a"]}, r"data\.ood is \['a'\], but must be \{name: path\}"),
        ({"ood": {"a": None}}, r"data\.ood has a: None"),
        ({"shift": {"a/b": "c"}}, r"data\.shift has a/b: 'c'"),
        ({"ood_sets": "svhn"}, r"data\.ood_sets is 'svhn', but must be a list of names such as \[svhn\]"),
        ({"ood_sets": ["svnh"]}, r"data\.ood_sets has 'svnh', but the official sets are svhn; a folder is data\.ood="),
        ({"shift_sets": ["zzz"]}, r"data\.shift_sets has 'zzz', but the official sets are cifar10, .*ytbb_robust"),
        ({"ood": {"svhn": "x"}, "ood_sets": ["svhn"]}, r"both have svhn"),
    ],
)
def test_a_setting_that_cannot_work_is_named(three, settings, message):
    with pytest.raises(UserError, match=message):
        three(**settings)


def test_a_set_of_the_family_keeps_its_name(image_folder, tmp_path):
    folder = image_folder({"x": 1}, root=tmp_path / "ood")
    data = Digits(8, ood={"photos": str(folder)})
    with pytest.raises(UserError, match="Digits brings a set ood/photos of its own"):
        data.setup("test")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_sentence(three, image_folder, tmp_path, evaluated, workers):
    folder = image_folder({"x": 3}, root=tmp_path / "ood")
    (folder / "x/1.png").write_bytes((folder / "x/1.png").read_bytes()[:100])
    data = three(ood={"x": str(folder)}, num_workers=workers)
    with pytest.raises(UserError, match=r"^The image .*1\.png is damaged .*: replace or remove it\.$"):
        evaluated(data, "ood/x")


@pytest.mark.parametrize("processes", [2, 5])
def test_processes_decode_each_file_once_and_in_order(three, image_folder, process, evaluated, tmp_path, processes):
    folder = image_folder({"x": 4}, root=tmp_path / "ood")
    data = three(ood={"x": str(folder)}, eval_batch_size=1)
    shares = []
    for rank in range(processes):
        process(data, rank, processes)
        shares.append(evaluated(data, "ood/x")[0])
    assert torch.equal(torch.cat(shares), torch.stack([seen(folder / f"x/{number}.png") for number in range(4)]))
