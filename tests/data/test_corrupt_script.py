"""python scripts/corrupt.py, and train.py reading what it wrote."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def corrupt(call):
    """Call the script."""
    from ensembles.commands import corrupt as program

    return partial(call, program)


FEW = ("data.corrupted.types=[fog,contrast]", "trainer.accelerator=cpu")


def test_it_writes_the_copy_of_any_set_and_training_reads_it(corrupt, tiny, image_folder):
    image_folder({"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 4}, size=(16, 16), root=Path("photos"))
    photos = ("data=image_folder", "data.root=photos", "data.num_workers=1")
    code, out, err = corrupt(*photos, *FEW)
    assert (code, out) == (0, "photos-C: fog, contrast\n"), err
    assert np.load("photos-C/fog.npy").shape == (35, 16, 16, 3)
    assert np.load("photos-C/labels.npy").tolist() == [0, 0, 0, 1, 1, 1, 1] * 5
    ended = tiny(
        *photos, *FEW, "data.corrupted.source=written", "data.train_size=null", "recipe.epochs=1", "recipe.batch_size=8"
    )
    assert ended.code == 0, ended.err
    (results,) = Path("runs").glob("*/results.json")
    assert all(
        f'"corrupted/{type}/{severity}/acc"' in results.read_text()
        for type in ("fog", "contrast")
        for severity in range(1, 6)
    )


def test_several_sets_are_written_one_after_the_other(corrupt):
    code, out, err = corrupt("data=digits", "data.root=a,b", *FEW)
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
def test_what_cannot_work_is_named_in_one_sentence(corrupt, arguments, sentence):
    code, out, err = corrupt(*arguments)
    assert code == 1 and out == ""
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert not list(Path().rglob("*.npy"))
