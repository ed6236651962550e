"""ImageNet-1k and ImageNet-C, on small images in the official folders."""

import io
import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from ensembles.data import ImageNet
from ensembles.data.class_folders import synsets
from ensembles.data.corrupted import write_corrupted
from ensembles.data.corruptions import EXTRA, STANDARD
from ensembles.data.imagenet import CORRUPTED
from ensembles.data.imagenet_views import InceptionCrop
from ensembles.data.mixing import Mix
from ensembles.errors import UserError
from ensembles.rng import generator


def jpeg(number, size=(40, 30)):
    pixels = np.random.default_rng(number).integers(0, 256, (size[1] // 5, size[0] // 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, "jpeg")
    return file.getvalue()


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """train/ with two images and val/ with one of each of the 1,000 classes; 20 different ones in all."""
    root = tmp_path_factory.mktemp("imagenet")
    files = [jpeg(number) for number in range(20)]
    for index, synset in enumerate(synsets()):
        for part, names in (("train", (f"{synset}_1", f"{synset}_2")), ("val", (f"ILSVRC2012_val_{index:08}",))):
            folder = root / part / synset
            folder.mkdir(parents=True)
            for number, name in enumerate(names):
                (folder / f"{name}.JPEG").write_bytes(files[(index + 7 * number + (part == "val")) % 20])
    return root


@pytest.fixture
def few(tmp_path):
    """Make a tree of ten classes, data.classes for it, and the folder."""
    classes = list(synsets()[:1000:100])
    for index, synset in enumerate(classes):
        for part, number in (("train", 4), ("val", 2)):
            folder = tmp_path / "few" / part / synset
            folder.mkdir(parents=True)
            for n in range(number):
                (folder / f"{n}.JPEG").write_bytes(jpeg(10 * index + n + (part == "val") * 5))
    return tmp_path / "few", classes


def imagenet(root, **settings):
    data = ImageNet(
        **{"batch_size": 8, "root": str(root), "val_fraction": 0, "num_workers": 0, "image_size": 24, **settings}
    )
    data.prepare_data()
    data.setup()
    return data


def test_all_classes_are_read_in_the_order_of_their_wordnet_ids(tree):
    data = imagenet(tree)
    assert (data.num_classes, data.in_channels, data.image_size) == (1000, 3, 24)
    assert [len(data.sets[name]) for name in ("train", "test")] == [2000, 1000]
    assert data.sets["test"].labels.tolist() == list(range(1000))
    assert data.sets["train"].labels.tolist() == [index // 2 for index in range(2000)]
    assert data.class_names[:2] == ["tench", "goldfish"] and data.class_names[-1] == "toilet tissue"
    paths = data.sets["test"].images.paths
    assert paths[999] == bytes(tree / "val" / synsets()[999] / "ILSVRC2012_val_00000999.JPEG")


def test_what_is_known_before_the_files_are_listed():
    data = ImageNet(8, root="nowhere", classes=["n01440764", 999])
    assert (data.num_classes, data.image_size, data.class_names) == (2, 224, ["tench", "toilet tissue"])


def test_999_classes_are_refused(tree, tmp_path):
    for part in ("train", "val"):
        (tmp_path / "less" / part).mkdir(parents=True)
        for synset in synsets():
            (tmp_path / "less" / part / synset).symlink_to(tree / part / synset)
    (tmp_path / "less/val" / synsets()[7]).unlink()
    with pytest.raises(
        UserError, match=rf"less/val lacks the class folder {synsets()[7]}: .*1000 of imagenet, and has 999\."
    ):
        imagenet(tmp_path / "less")
    (tmp_path / "less/val/n99999999").symlink_to(tree / "val" / synsets()[7])
    (tmp_path / "less/val" / synsets()[7]).symlink_to(tree / "val" / synsets()[7])
    with pytest.raises(UserError, match=r"has the class folder n99999999, of no class"):
        imagenet(tmp_path / "less")


def test_some_classes_need_no_others_folders(few):
    root, classes = few
    data = imagenet(root, classes=classes)
    assert data.num_classes == 10 and len(data.sets["train"]) == 40
    assert data.sets["test"].labels.tolist() == [index // 2 for index in range(20)]
    data = imagenet(root, classes=classes[:4])
    assert data.test_sets == {"test": 8, "ood/left_out": 12}


def test_a_root_that_holds_no_imagenet_says_what_to_put_where(few, tmp_path):
    root, classes = few
    with pytest.raises(UserError, match=r"data\.root is not set"):
        ImageNet(8, root=None)
    with pytest.raises(
        UserError, match=r"There is no .*nowhere/train: ImageNet's licence .*image-net\.org; put train/"
    ):
        imagenet(tmp_path / "nowhere")
    shutil.rmtree(root / "val")
    with pytest.raises(UserError, match=r"There is no .*few/val: ImageNet's licence"):
        imagenet(root, classes=classes)


def test_a_class_without_images_is_named(few):
    root, classes = few
    for path in (root / "val" / classes[3]).iterdir():
        path.unlink()
    with pytest.raises(UserError, match=rf"data\.root: test: the class folder .*{classes[3]} holds no image"):
        imagenet(root, classes=classes)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"crop_ratio": 0}, r"data\.crop_ratio is 0"),
        ({"crop_ratio": 1.5}, r"data\.crop_ratio is 1\.5"),
        ({"interpolation": "cubic"}, r"data\.interpolation is 'cubic', but must be bilinear or bicubic"),
        ({"train_image_size": 0}, r"data\.train_image_size is 0"),
        ({"augment": Mix()}, r"data\.augment must be"),
        ({"classes": ["n0144076", 1]}, r"data\.classes has 'n0144076'"),
    ],
)
def test_a_bad_setting_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        ImageNet(8, root="nowhere", **settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"scale": [0, 1]}, r"data\.augment\.scale"),
        ({"scale": [0.5]}, r"data\.augment\.scale"),
        ({"interpolation": "nearest"}, r"data\.augment\.interpolation"),
        ({"rand_augment": 9}, r"data\.augment\.rand_augment is 9"),
    ],
)
def test_a_bad_augmentation_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        InceptionCrop(**settings)


@pytest.mark.parametrize("ratio, interpolation", [(0.875, "bilinear"), (0.95, "bicubic")])
def test_the_centre_is_what_torchvision_evaluates_on(few, evaluated, ratio, interpolation):
    root, classes = few
    data = imagenet(root, classes=classes, crop_ratio=ratio, interpolation=interpolation)
    mode = v2.InterpolationMode(interpolation)
    preset = ImageClassification(crop_size=24, resize_size=int(24 / ratio), interpolation=mode)
    images, _ = evaluated(data, "test")
    paths = [root / "val" / classes[0] / "0.JPEG", root / "val" / classes[0] / "1.JPEG"]
    expected = torch.stack([preset(Image.open(path)) for path in paths])
    assert torch.allclose(data.normalise(images[:2]), expected, atol=1e-5)


def train_batches(data, epoch=0, steps=2):
    loader = data.train_dataloader()
    data.trainer.current_epoch = epoch
    return [data.on_after_batch_transfer(batch, 0) for batch, _ in zip(loader, range(steps), strict=False)]


def test_a_training_image_is_a_random_piece_that_follows_from_its_seed(few, process):
    root, classes = few
    data = imagenet(root, classes=classes, augment=InceptionCrop(), train_image_size=16, seed=5)
    process(data, 0, 1)
    ((x, y), *_) = train_batches(data, epoch=3)
    order = torch.randperm(40, generator=generator(5, "order", 3, 0))[:8]
    seeds = torch.randint(2**62, (8, 1), generator=generator(5, "augment", 3, 0))
    expected = []
    for index, seed in zip(order.tolist(), seeds.flatten().tolist(), strict=True):
        image = Image.open(root / "train" / classes[index // 4] / f"{index % 4}.JPEG")
        torch.manual_seed(seed)
        piece = v2.Compose([v2.RandomResizedCrop(16), v2.RandomHorizontalFlip()])(image)
        expected.append(v2.functional.pil_to_tensor(piece))
    assert y.tolist() == [index // 4 for index in order.tolist()]
    assert torch.equal(x, data.normalise(torch.stack(expected)))


@pytest.mark.parametrize("mix", [None, Mix()])
def test_any_number_of_processes_and_workers_sees_the_same(few, process, mix):
    root, classes = few
    settings = {"classes": classes, "augment": InceptionCrop(), "train_image_size": 16, "mix": mix}
    alone = imagenet(root, **settings)
    process(alone, 0, 1)
    batches = train_batches(alone)
    shares = []
    for rank in range(2):
        data = imagenet(root, **settings, num_workers=1)
        process(data, rank, 2)
        shares.append(train_batches(data))
    for (x, y), *parts in zip(batches, *shares, strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), x)
        assert torch.equal(torch.cat([part for _, part in parts]), y)
    others = train_batches(alone, epoch=1)
    assert not torch.equal(others[0][0], batches[0][0])


def test_libraries_draw_as_before_after_an_image_was_augmented():
    view = InceptionCrop(rand_augment="rand-m6-mstd0.5-inc1").at(16)
    image = Image.open(io.BytesIO(jpeg(0)))
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    one, same, other = (np.array(view(image, torch.tensor([seed]))) for seed in (3, 3, 4))
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert one.shape == (16, 16, 3)


def test_a_damaged_training_image_is_named(few, process):
    root, classes = few
    path = root / "train" / classes[2] / "1.JPEG"
    path.write_bytes(path.read_bytes()[:-150])
    data = imagenet(root, classes=classes, augment=InceptionCrop(), num_workers=1)
    process(data, 0, 1)
    with pytest.raises(UserError, match=rf"^The image {path} is damaged .*: replace or remove it\.$"):
        train_batches(data, steps=5)


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_on_the_same_batches_when_it_resumes(few, recorded):
    root, classes = few

    def data():
        return imagenet(root, classes=classes, augment=InceptionCrop(), num_workers=1, batch_size=20)

    whole = recorded(data(), "whole", 3)
    recorded(data(), "cut", 1)
    resumed = recorded(data(), "cut", 3, resume=True)
    assert list(whole.seen) == [(epoch, step) for epoch in range(3) for step in range(2)]
    assert list(resumed.seen) == list(whole.seen)[2:]
    for key, (x, y) in resumed.seen.items():
        assert torch.equal(x, whole.seen[key][0]) and torch.equal(y, whole.seen[key][1])
    assert not torch.equal(whole.seen[0, 0][0], whole.seen[1, 0][0])
    assert torch.cat([y for _, y in resumed.tested[0]]).tolist() == [index // 2 for index in range(20)]


def test_imagenet_c_is_read_from_its_folders_as_it_is(few, evaluated):
    root, classes = few
    for synset in classes:
        folder = root / "imagenet-c/fog/3" / synset
        folder.mkdir(parents=True)
        for name in ("ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"):
            (folder / name).write_bytes(jpeg(len(name) + classes.index(synset), (24, 24)))
    some = {"types": ["fog"], "severities": [3]}
    data = imagenet(root, classes=classes, corrupted={"source": "written", **some}, download=False)
    images, labels = evaluated(data, "corrupted/fog/3")
    assert labels.tolist() == [index // 2 for index in range(20)]
    first = root / "imagenet-c/fog/3" / classes[0] / "ILSVRC2012_val_00000001.JPEG"
    assert torch.equal(images[0], v2.functional.pil_to_tensor(Image.open(first)))
    subset = imagenet(root, classes=classes, corrupted={"source": "written", **some, "size": 10})
    assert evaluated(subset, "corrupted/fog/3")[1].tolist() == list(range(10))


def test_imagenet_c_that_is_not_there_says_where_it_comes_from(few):
    root, classes = few
    some = {"types": ["snow"]}
    with pytest.raises(
        UserError, match=r"imagenet-c/weather\.tar and data\.download is false.*folder snow unpacked from it"
    ):
        imagenet(root, classes=classes, corrupted={"source": "written", **some}, download=False)


def test_each_corruption_type_is_in_one_archive():
    assert sorted(type for archive in CORRUPTED for type in archive.folders) == sorted(STANDARD + EXTRA)


def test_copies_can_be_written_and_read_back(few, evaluated):
    root, classes = few
    some = {"types": ["contrast"], "severities": [4], "root": str(root / "imagenet-C")}
    write_corrupted(imagenet(root, classes=classes, corrupted=some, eval_batch_size=6))
    written = imagenet(root, classes=classes, corrupted={"source": "written", **some})
    computed = imagenet(root, classes=classes, corrupted={"source": "on_the_fly", **some})
    for one, other in zip(*(evaluated(data, "corrupted/contrast/4") for data in (written, computed)), strict=True):
        assert torch.equal(one, other)
