"""Predictions of files, folders and images of PIL's, in Python and into a CSV; decisions in the results."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ensembles
from ensembles.commands import predict
from ensembles.data.files.decode import cover, open_rgb
from ensembles.data.imagenet_views import centre
from ensembles.errors import UserError
from ensembles.predictor import Predictor, image_paths
from ensembles.runs import LATER_EVALUATION, Run


def photographs(root, counts, size=(8, 8), seed=0):
    random = np.random.default_rng(seed)
    for place, count in counts.items():
        (root / place).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (*size[::-1], 3), np.uint8)).save(root / place / f"{number}.png")
    return root


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_photographs_to_a_csv(train, call):
    photographs(Path("photos"), {"train/cat": 12, "train/dog": 12, "test/cat": 4, "test/dog": 5}, size=(20, 14))
    ended = train(
        *("data=image_folder", "data.root=photos", "data.image_size=8", "data.num_workers=1", "method=packed"),
        *("recipe.epochs=1", "model=small_cnn", "recipe.batch_size=8", "runtime.progress=false"),
        *("evaluation.risk=0.4", "evaluation.conformal=0.2"),
    )
    assert ended.code == 0, ended.err
    assert "Decisions" in ended.out and "labels in their LAC sets, %" in ended.out
    (run,) = Path("runs").iterdir()
    results = json.loads((run / "results.json").read_text())
    assert {"selective/coverage", "conformal/lac/size", "conformal/aps/coverage"} <= results.keys()

    ended = call(predict, run, "photos/test", "--out", "found.csv")
    assert (ended.out, ended.err) == ("found.csv: 9 images.\n", "")
    found = rows("found.csv")
    files = [*(f"cat/{i}.png" for i in range(4)), *(f"dog/{i}.png" for i in range(5))]
    assert [row["file"] for row in found] == [f"photos/test/{file}" for file in files]
    right = [row["class"] == Path(row["file"]).parent.name for row in found]
    assert sum(right) / 9 == pytest.approx(results["test/acc"])
    classes = rows(run / "classes.csv")
    assert [(row["class"], row["images"]) for row in classes] == [("cat", "4"), ("dog", "5")]
    assert sum(float(row["accuracy"]) * int(row["images"]) for row in classes) == pytest.approx(sum(right))
    matrix = rows(run / "confusion.csv")
    assert sum(int(row[name]) for row in matrix for name in ("cat", "dog")) == 9
    assert int(matrix[0]["cat"]) + int(matrix[1]["dog"]) == sum(right)

    model = ensembles.load(run)
    p = model.predict("photos/test")
    assert torch.equal(p, model.predict([Path("photos/test/cat"), Path("photos/test/dog")]))
    assert torch.allclose(p[:1], model.predict(Image.open("photos/test/cat/0.png")))
    details = model.predict(["photos/test"], details=True)
    assert details.members.shape == (4, 9, 2) and torch.equal(details.probabilities, p)
    for key, value in (("entropy", details.entropy), ("mutual_information", details.mutual_information)):
        assert [float(row[key]) for row in found] == pytest.approx(value.tolist(), rel=1e-5, abs=1e-8)

    Path("photos/test/cat/broken.png").write_text("no image")
    assert "broken.png is no image" in call(predict, run, "photos/test").err
    assert "There is no nowhere" in call(predict, run, "nowhere").err
    Path("empty").mkdir()
    assert "empty holds no image" in call(predict, run, "empty").err
    assert "empty holds no trained network" in call(predict, "empty", "photos").err


def test_grey_images_and_another_view(tmp_path):
    from ensembles.backbones import small_cnn

    path = photographs(tmp_path, {"x": 1}, size=(30, 20)) / "x/0.png"
    for channels, mode in ((1, "L"), (3, "RGB")):
        ensemble = ensembles.packed(small_cnn(3, channels, 8), M=2, alpha=2, input_shape=(channels, 8, 8))
        given = [0.5] * channels, [0.2] * channels, ["a", "b", "c"]
        square = np.atleast_3d(np.array(cover(open_rgb(path), 8).convert(mode)))
        wanted = Predictor(ensemble, *given).predict(square.transpose(2, 0, 1)[None])
        assert torch.allclose(Predictor(ensemble, *given).predict(path), wanted)
    other = np.array(centre(8, 0.5)(open_rgb(path))).transpose(2, 0, 1)[None]
    wanted = Predictor(ensemble, *given).predict(other)
    assert torch.allclose(Predictor(ensemble, *given, centre(8, 0.5)).predict(path), wanted)


def test_an_image_of_16_bits_is_the_same_as_a_file_or_not(tmp_path):
    from ensembles.backbones import small_cnn

    image = Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16))
    image.save(tmp_path / "x.png")
    ensemble = ensembles.packed(small_cnn(3, 3, 8), M=2, alpha=2, input_shape=(3, 8, 8))
    predictor = Predictor(ensemble, [0.5] * 3, [0.2] * 3, ["a", "b", "c"])
    assert torch.equal(predictor.predict(image), predictor.predict(tmp_path / "x.png"))


def test_what_is_no_image():
    with pytest.raises(UserError, match=r"There is no photo\.png: give an image file"):
        image_paths("photo.png")
    for wrong in ([], 5, [1, 2]):
        with pytest.raises(UserError, match=r"images are a (list|int), but must be a tensor"):
            image_paths(wrong)


def test_what_is_asked_of_an_evaluation_later_is_no_part_of_earlier_ones():
    evaluation = {"temperature_scaling": False, "restrict_classes": True, "save_predictions": False}
    config = {"data": {}, "test_on": "best", "trainer": {}}

    def of(**more):
        return Run({**config, "evaluation": evaluation | more}, Path("x")).evaluation["evaluation"]

    assert of(**LATER_EVALUATION) == of() == evaluation
    assert of(risk=0.1) == evaluation | {"risk": 0.1}
