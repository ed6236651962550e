"""Using a trained ensemble from Python."""

from pathlib import Path

import pytest
import torch

import ensembles
from ensembles.backbones import small_cnn
from ensembles.data import Digits
from ensembles.errors import UserError
from ensembles.predictor import Predictor


@pytest.fixture
def checkpoint(tiny):
    tiny()
    (path,) = Path("runs").glob("*/best.ckpt")
    return path


def test_predictions_are_those_of_the_run(checkpoint):
    model = ensembles.load(checkpoint)
    data = Digits(batch_size=32)
    data.setup("test")
    test = data.sets["test"]
    images = test.images.gather(test.index)
    p = model.predict(images)
    assert p.shape == (360, 10)
    torch.testing.assert_close(p.sum(1), torch.ones(360))
    accuracy = (p.argmax(1) == test.labels).float().mean().item()
    import json

    assert accuracy == pytest.approx(json.loads((checkpoint.parent / "results.json").read_text())["test/acc"])
    torch.testing.assert_close(model.predict(images.float() / 255), p)
    assert model.class_names == [str(digit) for digit in range(10)]


def test_details(checkpoint):
    model = ensembles.load(checkpoint)
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    found = model.predict(images, details=True)
    assert found.members.shape == (4, 5, 10)
    torch.testing.assert_close(found.members.mean(0), found.probabilities)
    mean_entropy = -(found.members * found.members.log()).sum(-1).mean(0)
    entropy = -(found.probabilities * found.probabilities.log()).sum(-1)
    torch.testing.assert_close(found.entropy.float(), entropy, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.mutual_information.float(), entropy - mean_entropy, rtol=1e-3, atol=1e-5)
    x = (images.float() / 255 - model.mean) / model.std
    torch.testing.assert_close(model.member(2)(x).softmax(-1), found.members[2])


def test_images_of_another_shape(checkpoint):
    with pytest.raises(UserError, match=r"images are \(2, 3, 8, 8\), but the network takes \('B', 1, 8, 8\)"):
        ensembles.load(checkpoint).predict(torch.zeros(2, 3, 8, 8))


def test_a_checkpoint_cannot_name_what_to_run(checkpoint, tmp_path):
    """Nor deep inside its settings; a package of one's own must be trusted by name."""
    contents = torch.load(checkpoint, weights_only=True)
    contents["ensembles"]["model"]["kwargs"] = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "ran")}
    torch.save(contents, "hostile.ckpt")
    with pytest.raises(UserError, match=r"small_cnn has no setting kwargs"):
        ensembles.load("hostile.ckpt")
    contents["ensembles"]["model"] = {"_target_": "ensembles.predictor.load", "path": "x"}
    torch.save(contents, "hostile.ckpt")
    with pytest.raises(UserError, match=r"wants ensembles\.predictor\.load to be called"):
        ensembles.load("hostile.ckpt")
    assert not (tmp_path / "ran").exists()


def test_layers_are_usable_without_lightning():
    ensemble = ensembles.packed(small_cnn(10), M=4, alpha=2, gamma=1)
    assert isinstance(ensemble, torch.nn.Module)
    assert ensemble(torch.randn(2, 3, 32, 32)).shape == (4, 2, 10)
    assert ensembles.mimo(small_cnn(10), M=3)(torch.randn(2, 3, 32, 32)).shape == (3, 2, 10)
    assert ensembles.deep_ensemble(small_cnn(10), M=2).predict(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_arrays_of_numpy():
    predictor = Predictor(ensembles.packed(small_cnn(10), M=2, alpha=2), [0.5] * 3, [0.2] * 3, list("0123456789"))
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    expected = predictor.predict(images)
    assert torch.equal(predictor.predict(images.numpy()), expected)
    assert torch.allclose(predictor.predict(images.numpy() / 255), expected, atol=1e-6)
    assert torch.allclose(predictor.predict(images.numpy()[:, ::-1][:, ::-1]), expected)
    for wrong, said in {
        "channels last": (images.permute(0, 2, 3, 1).numpy(), "put them first, images.transpose"),
        "integers": (images.long().numpy(), "images are int64, but must be uint8"),
        "list": (images.tolist(), "images are a list"),
        "text": (images.numpy().astype(str), "an array of"),
    }.values():
        with pytest.raises(UserError, match=said):
            predictor.predict(wrong)
