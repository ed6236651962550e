"""Data of one's own: torch Datasets, tensors and arrays, and CSVs of paths and labels."""

import csv
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from ensembles import methods
from ensembles.backbones import small_cnn
from ensembles.data import ImageFolder, ImageTable, datasets, from_datasets
from ensembles.data.sources import ImageTensor
from ensembles.errors import Foreign, UserError
from ensembles.training.recipe import Recipe, cosine


def drawn(N=60, K=3, size=8, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (N, channels, size, size), generator=generator, dtype=torch.uint8)
    return pixels, torch.arange(N) % K


class Photographs(Dataset):
    """Images of PIL's, as torchvision's data sets give them."""

    classes = ("ant", "bee", "cow")

    def __init__(self, N=60, sizes=((8, 8),), transform=None, seed=0):
        self.pixels, self.labels = drawn(N, seed=seed)
        self.sizes, self.transform = sizes, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        image = Image.fromarray(self.pixels[position].permute(1, 2, 0).numpy())
        image = image.resize(self.sizes[position % len(self.sizes)])
        return self.transform(image) if self.transform else image, int(self.labels[position])


def made(train, test=None, **settings):
    data = from_datasets(train, train if test is None else test, **{"batch_size": 8, "num_workers": 1, **settings})
    data.prepare_data()
    data.setup()
    return data


def images(data, name="test"):
    return torch.cat([data.pixels(batch) for batch in data.eval_dataloader(name, data.sets[name])])


@pytest.mark.parametrize("form", ["tensors", "arrays", "TensorDataset", "PIL", "list", "channels last"])
def test_each_form_gives_the_same_images_and_labels(form):
    pixels, labels = drawn()
    given = {
        "tensors": (pixels, labels),
        "arrays": (pixels.numpy(), labels.numpy()),
        "TensorDataset": TensorDataset(pixels, labels),
        "PIL": Photographs(),
        "list": list(zip(pixels, labels.tolist(), strict=True)),
        "channels last": (pixels.permute(0, 2, 3, 1).numpy(), labels),
    }[form]
    data = made(given, val_fraction=0.2)
    assert (data.num_classes, data.in_channels, data.image_size) == (3, 3, 8)
    assert data.class_names == (["ant", "bee", "cow"] if form == "PIL" else ["0", "1", "2"])
    assert [len(data.sets[name]) for name in ("train", "val", "test")] == [48, 12, 60]
    assert torch.equal(images(data), pixels) and torch.equal(data.sets["test"].labels, labels)
    assert data.mean == pytest.approx((pixels.double() / 255).mean((0, 2, 3)).tolist())
    assert isinstance(data.sets["train"].images, ImageTensor)


def test_grey_images_without_an_axis_of_channels():
    pixels, labels = drawn(channels=1)
    assert made((pixels[:, 0].numpy(), labels)).in_channels == 1


def bits(kind, size=(8, 8)):
    """A grey ramp from black to white, as an image of PIL's of 16 or 32 bits."""
    return Image.fromarray(np.linspace(0, 65535, size[0] * size[1]).reshape(size).astype(kind))


@pytest.mark.parametrize("settings", [{}, {"image_size": 8}])
def test_images_of_16_bits_are_scaled_and_not_clipped(settings):
    """As in folders, where `decode` reads them; those of 32 bits, whose range nobody knows, are refused."""
    grey = torch.from_numpy(np.asarray(bits(np.uint16)) // 256).byte()
    data = made([(bits(np.uint16), label % 2) for label in range(20)], **settings)
    assert torch.equal(images(data), grey.expand(20, 3, 8, 8))
    for kind in (np.int32, np.float32):
        with pytest.raises(UserError, match=r"^Item 0 of data\.test: an image has pixels of 32 bits"):
            made([(bits(kind), 0), (bits(kind), 1)], **settings)


def test_floats_reach_the_network_as_they_are():
    pixels, labels = drawn()
    x = (pixels.float() / 255 - 0.5) / 0.25
    data = made((x, labels))
    batch = next(iter(data.eval_dataloader("test", data.sets["test"])))
    assert torch.equal(data.on_after_batch_transfer(batch, 0)[0], x)
    with pytest.raises(UserError, match=r"data\.corrupted needs images of uint8"):
        made((x, labels), corrupted={"source": "on_the_fly"})


def test_uint8_images_that_a_transform_makes_floats_are_normalised_alike():
    """As torchvision has it, ToDtype scales to [0, 1]: the network sees what it would have seen."""
    plain, scaled = made(Photographs()), made(Photographs(), augment=v2.ToDtype(torch.float32, scale=True))
    batch = next(iter(plain.train_dataloader()))
    wanted, _ = plain.on_after_batch_transfer(batch, 0)
    found, _ = scaled.on_after_batch_transfer(next(iter(scaled.train_dataloader())), 0)
    torch.testing.assert_close(found, wanted)


TRAINING = v2.Compose([v2.RandomResizedCrop(6, antialias=True), v2.RandomHorizontalFlip()])
EVALUATION = v2.Compose([v2.Resize(6, antialias=True), v2.CenterCrop(6)])


def test_own_transforms_for_training_and_for_evaluation():
    sets = Photographs(sizes=((12, 9), (8, 8), (9, 20)))
    data = made(sets, transform=TRAINING, eval_transform=EVALUATION, val_fraction=0.2)
    wanted = torch.stack([v2.functional.pil_to_tensor(EVALUATION(sets[i][0])) for i in range(len(sets))])
    assert data.image_size == 6 and torch.equal(images(data), wanted)
    assert torch.equal(images(data, "val"), wanted[data.sets["val"].index])
    one, again = (torch.cat([b.pixels for b in data.train_dataloader()]) for _ in range(2))
    assert one.shape == (48, 3, 6, 6) and torch.equal(one, again)  # the same epoch, so the same draws
    data.trainer = type("Second", (), {"current_epoch": 1, "global_rank": 0, "world_size": 1, "fit_loop": None})()
    data.trainer.fit_loop = type("Begun", (), {"batch_idx": -1})()
    assert not torch.equal(one, torch.cat([b.pixels for b in data.train_dataloader()]))


def test_a_training_set_that_draws_is_read_in_each_epoch_and_follows_from_the_seed():
    sets = Photographs(transform=v2.RandomHorizontalFlip())
    data = made(sets, Photographs(), val_fraction=0)
    assert not isinstance(data.sets["train"].images, ImageTensor)
    assert isinstance(data.sets["test"].images, ImageTensor)
    plain = Photographs()
    seen = set()
    for batch in data.train_dataloader():
        for index, found in zip(batch.index.tolist(), batch.pixels, strict=True):
            asis = v2.functional.pil_to_tensor(plain[index][0])
            flipped = torch.equal(found, asis.flip(-1))
            assert flipped or torch.equal(found, asis)
            seen.add(flipped)
    assert seen == {True, False}
    one, again = (torch.cat([b.pixels for b in data.train_dataloader()]) for _ in range(2))
    assert torch.equal(one, again)


def test_what_is_not_kept_in_memory_is_the_same():
    kept, read = made(Photographs()), made(Photographs(), in_memory=False)
    assert not isinstance(read.sets["train"].images, ImageTensor)
    assert torch.equal(images(kept), images(read)) and kept.mean == pytest.approx(read.mean)
    for one, other in zip(kept.train_dataloader(), read.train_dataloader(), strict=True):
        (x, y), (x_, y_) = (d.on_after_batch_transfer(b, 0) for d, b in ((kept, one), (read, other)))
        torch.testing.assert_close(x, x_)
        assert torch.equal(y, y_)


@pytest.mark.parametrize("given", [Photographs(sizes=((16, 16),)), drawn(size=16)], ids=["PIL", "tensors"])
def test_what_is_kept_for_a_transform_is_measured_as_it_is_kept(given, monkeypatch):
    """The images as they come, 3x16x16, and not what the test images become, 3x6x6."""
    monkeypatch.setattr(datasets, "SMALL", 60 * 3 * 16**2 - 1)
    data = made(given, transform=TRAINING, eval_transform=EVALUATION)
    assert data.sets["train"].images.kept is None and isinstance(data.sets["test"].images, ImageTensor)
    monkeypatch.setattr(datasets, "SMALL", 60 * 3 * 16**2)
    assert len(made(given, transform=TRAINING, eval_transform=EVALUATION).sets["train"].images.kept) == 60


class DrawsLate(Photographs):
    """Draws, but of later images only."""

    def __init__(self, first, N=80):
        super().__init__(N)
        self.first = first

    def __getitem__(self, position):
        image, label = super().__getitem__(position)
        return (v2.RandomRotation(180)(image) if position >= self.first else image), label


def test_a_training_set_that_draws_rarely_is_seen_or_is_not_to_be_kept():
    def in_epochs(data):
        found = []
        for epoch in range(2):
            data.trainer = SimpleNamespace(
                current_epoch=epoch, global_rank=0, world_size=1, fit_loop=SimpleNamespace(batch_idx=-1)
            )
            batches = list(data.train_dataloader())
            index = torch.cat([batch.index for batch in batches])
            found.append(torch.cat([data.pixels(batch) for batch in batches])[index.argsort()])
        return found

    rarely = made(DrawsLate(first=60), Photographs(), val_fraction=0)
    assert not torch.equal(*in_epochs(rarely))
    missed = made(DrawsLate(first=64), Photographs(), val_fraction=0)
    assert isinstance(missed.sets["train"].images, ImageTensor)
    told = made(DrawsLate(first=64), Photographs(), val_fraction=0, in_memory=False)
    assert not torch.equal(*in_epochs(told))


def test_images_of_several_sizes_are_scaled_and_cut():
    assert images(made(Photographs(sizes=((12, 9), (30, 20))), image_size=10)).shape == (60, 3, 10, 10)


def test_what_the_documentation_shows_trains_and_takes_the_methods_own_deal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs/your_own.md").read_text()
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "from_datasets" in block]
    shown = {}
    exec(block, shown)
    data, method = shown["data"], shown["method"]
    assert data.deal is method.deal and data.deal.positions.keywords["M"] == 3
    (found,) = shown["trainer"].test(method, data, verbose=False) or [{}]
    assert found == {} and data.test_sets == {"test": 40}


@pytest.mark.parametrize("name", ["Packed", "DeepEnsemble"])
def test_it_is_a_datamodule_for_other_methods(name):
    data = from_datasets(drawn(), drawn(N=12), batch_size=16)
    method = getattr(methods, name)(lambda: small_cnn(3, image_size=8), (3, 8, 8), M=2)
    method.recipe = Recipe(lambda groups: torch.optim.SGD(groups, lr=0.1), 1, 16, cosine())
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(method, data)
    assert data.deal is method.deal and trainer.global_step == 3


class NoPairs(Photographs):
    def __getitem__(self, position):
        return super().__getitem__(position)[0]


class Fails(Photographs):
    def __getitem__(self, position):
        return {}["depth"]


class NoLength:
    def __getitem__(self, position):
        return None


@pytest.mark.parametrize(
    ("train", "settings", "said"),
    [
        (NoPairs(), {}, r"Item 0 of data\.test is a Image, but must be a pair"),
        (Fails(), {}, r"Item 0 of data\.test fails with KeyError: 'depth'"),
        (Photographs(sizes=((8, 8), (9, 9))), {}, r"Item 1 of data\.t\w+ is 3x9x9 and others are 3x8x8: set data"),
        (Photographs(sizes=((8, 9),)), {}, r"not square: set data\.image_size"),
        (NoLength(), {}, r"data\.train has no length"),
        ("photos.csv", {}, r"data\.train is 'photos.csv', but must be a torch Dataset"),
        ((drawn()[0], drawn()[1][:9]), {}, "60 images and 9 labels"),
        ((drawn()[0], drawn()[1] / 2), {}, r"label of item 0 of data\.train is 0\.0, but must be an integer"),
        ((drawn()[0], drawn()[1] - 1), {}, r"label of item 0 of data\.train is -1, but the classes are 0 to"),
        (Photographs(), {"class_names": ["a", "b"]}, r"item 2 of data\.train is 2, but the classes are 0 to 1"),
        ((drawn()[0].long(), drawn()[1]), {}, r"Item 0 of data\.test: an image is int64"),
        ((drawn()[0], torch.zeros(60).long()), {}, "one class only"),
        (Photographs(), {"transform": TRAINING, "augment": TRAINING}, r"set data\.augment=null"),
        (Photographs(), {"eval_transform": "flip"}, r"data\.eval_transform is 'flip', but must be a function"),
        ((drawn()[0].float(), drawn()[1]), {"image_size": 4}, r"resize floats in data\.eval_transform"),
    ],
)
def test_data_that_cannot_work_are_named(train, settings, said):
    with pytest.raises(UserError, match=said) as caught:
        made(train, **settings)
    assert "\n" not in str(caught.value)


def test_a_label_of_the_test_set_that_training_has_not():
    with pytest.raises(UserError, match=r"label of item 3 of data\.test is 3, but the classes are 0 to 2"):
        made(drawn(), drawn(K=4))
    with pytest.raises(UserError, match=r"data\.train are floats of 3x8x8 and those of data\.test uint8 of 3x8x8"):
        made((drawn()[0] / 255, drawn()[1]), drawn())
    assert issubclass(Foreign, UserError)


@pytest.fixture
def tables(image_folder):
    """A folder's images, and CSVs that list them; changed by a function of their rows."""
    root = image_folder({"train/cat": 12, "train/dog": 10, "test/cat": 3, "test/dog": 4})

    def write(change=lambda rows: rows, columns=("path", "label"), root=root):
        for split in ("train", "test"):
            files = sorted((root / split).glob("*/*.png"), key=lambda path: (int(path.stem), path.parent.name))
            rows = [(str(path.relative_to(root)), path.parent.name) for path in files]
            with open(root / f"{split}.csv", "w", newline="") as file:
                csv.writer(file).writerows([columns, *change(rows)])
        return {"train": str(root / "train.csv"), "test": str(root / "test.csv")}

    return write


def table(tmp_path, **settings):
    data = ImageTable(8, cache_dir=str(tmp_path / "cache"), num_workers=1, **settings)
    data.prepare_data()
    data.setup()
    return data


def by_label(labelled):
    pixels = labelled.images.gather(labelled.index)
    return sorted((int(y), x.numpy().tobytes()) for x, y in zip(pixels, labelled.labels, strict=True))


@pytest.mark.parametrize("labels", ["names", "integers", "names by integers"])
def test_a_csv_lists_what_a_folder_holds(tables, tmp_path, labels):
    number = {"cat": 0, "dog": 1}
    change = (lambda rows: rows) if labels == "names" else (lambda rows: [(p, number[name]) for p, name in rows])
    names = {"class_names": ["cat", "dog"]} if labels == "names by integers" else {}
    data = table(tmp_path, **tables(change), **names)
    folder = ImageFolder(8, root=str(tmp_path / "images"), cache_dir=str(tmp_path / "cache"), num_workers=1)
    folder.setup()
    assert data.class_names == (["0", "1"] if labels == "integers" else ["cat", "dog"])
    assert by_label(data.sets["test"]) == by_label(folder.sets["test"])
    assert len(data.sets["train"]) == len(folder.sets["train"]) and data.mean == pytest.approx(folder.mean)


def test_integer_labels_are_in_the_order_of_numbers(tables, tmp_path):
    number = {"cat": 10, "dog": 9}
    assert table(tmp_path, **tables(lambda rows: [(p, number[n]) for p, n in rows])).class_names == ["9", "10"]


@pytest.mark.parametrize("numbers", [(1, 2), (1, 0), (10, 20)])
def test_integer_labels_that_are_names_of_classes_number_none(tables, tmp_path, numbers):
    number = dict(zip(("cat", "dog"), numbers, strict=True))
    given = tables(lambda rows: [(path, number[name]) for path, name in rows])
    data = table(tmp_path, **given, class_names=[*numbers, 3])
    assert data.class_names == [*map(str, numbers), "3"]
    assert data.sets["test"].labels.bincount().tolist() == [3, 4]


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (lambda rows: [("no/file.png", "cat"), *rows], {}, r"train\.csv, line 2: there is no file no/file\.png"),
        (lambda rows: [(rows[0][0], ""), *rows], {}, r"train\.csv, line 2, has no label"),
        (lambda rows: [], {}, r"train\.csv has no row"),
        (lambda rows: rows, {"label_column": "kind"}, r"train\.csv has no column kind: it has path, label"),
        (lambda rows: [(p, "cat") for p, _ in rows], {}, "one label only"),
        (
            lambda rows: rows,
            {"class_names": ["cat", "cow"]},
            r"label dog is of no class; data\.class_names has cat, cow",
        ),
        (lambda rows: rows, {"test": None}, r"data\.test is not set"),
        (lambda rows: rows, {"test": "nowhere.csv"}, r"There is no CSV nowhere\.csv"),
        (
            lambda rows: [(p, {"cat": 0, "dog": 5}[n]) for p, n in rows],
            {"class_names": ["cat", "dog"]},
            "the label 5 is of no class",
        ),
    ],
)
def test_a_csv_that_cannot_work_is_named(tables, tmp_path, change, settings, said):
    with pytest.raises(UserError, match=said) as caught:
        table(tmp_path, **{**tables(change), **settings})
    assert "\n" not in str(caught.value)


OWN = """
import torch

def pairs(seed, number=60):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (number, 3, 8, 8), generator=generator, dtype=torch.uint8), torch.arange(number) % 3

def mirrored(image):
    return image.flip(-1)
"""
TINY = (
    "recipe.epochs=1",
    "model=small_cnn",
    "recipe.batch_size=8",
    "trainer.accelerator=cpu",
    "runtime.progress=false",
)


def test_own_data_from_the_command_line(train):
    """By a config of one's own that names functions, and as a CSV, whose place is of no matter."""
    Path("owndata.py").write_text(OWN)
    Path("conf/data").mkdir(parents=True)
    Path("conf/data/mine.yaml").write_text(
        "defaults: [datasets, _self_]\n"
        "train: {_target_: owndata.pairs, seed: 1}\ntest: {_target_: owndata.pairs, seed: 2}\n"
        "augment: {_target_: owndata.mirrored, _partial_: true}\nnum_workers: 1\n"
    )
    arguments = ("--config-dir", "conf", "data=mine", "method=packed", *TINY)
    try:
        ended = train(*arguments)
        assert ended.code == 0, ended.err
        assert train(*arguments, "data.train.seed=3").code == 0
        ended = train(*arguments, "+data.train.nothing=3")
        assert ended.code == 1 and "owndata.pairs does not take its settings: pairs() got" in ended.err
        missing = train("data=datasets", *TINY)
        assert missing.code == 1 and missing.err.startswith("error: data.train has no value: give it one")
    finally:
        sys.modules.pop("owndata", None)
        while str(Path.cwd()) in sys.path:
            sys.path.remove(str(Path.cwd()))
    runs = list(Path("runs").glob("mine-small_cnn-packed-*"))
    found = [json.loads(path.read_text()) for run in runs for path in run.glob("results.json")]
    assert len(found) == 2 and all("test/acc" in results for results in found)


def test_a_csv_from_the_command_line(train, tables, tmp_path, monkeypatch):
    given = tables()

    def trained(folder, *more):
        return train(
            "data=csv",
            f"data.train={folder}/train.csv",
            f"data.test={folder}/test.csv",
            "data.num_workers=1",
            *TINY,
            *more,
        )

    ended = trained("images")
    assert ended.code == 0, ended.err
    (run,) = Path("runs").iterdir()
    Path("images").rename("elsewhere")
    assert trained("elsewhere").code == 0 and list(Path("runs").iterdir()) == [run]
    text = Path("elsewhere/train.csv").read_text()
    Path("elsewhere/train.csv").write_text(text.replace("train/cat/1.png,cat", "train/cat/1.png,dog"))
    assert trained("elsewhere").code == 0 and len(list(Path("runs").iterdir())) == 2
    Path("elsewhere/train.csv").write_text(text)
    np.random.seed(0)
    path = Path("elsewhere/test/cat/0.png")
    size = path.stat().st_size
    Image.fromarray(np.random.randint(0, 256, (8, 8, 3), np.uint8)).save(path)
    if path.stat().st_size == size:  # other pixels, of which the fingerprint sees nothing, are evaluated again
        before = json.loads((run / "results.json").read_text())
        assert trained("elsewhere").code == 0
        assert json.loads((run / "results.json").read_text())["test/nll"] != before["test/nll"]
    assert "There is no CSV images/train.csv" in trained("images").err
    assert given["train"].endswith("images/train.csv")
