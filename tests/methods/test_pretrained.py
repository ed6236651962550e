"""Every method that keeps the backbone's numbers starts from a file of pretrained weights."""

from functools import partial

import pytest
import timm
import torch

from ensembles import methods
from ensembles.backbones import timm_model, torchvision_model
from ensembles.errors import UserError

NAME, SIZE, SHAPE = "vit_tiny_patch16_224", 32, (3, 32, 32)
FORM = {"patch_size": 8, "depth": 2, "embed_dim": 24}
KEPT = {
    "deterministic": methods.Deterministic,
    "dropout": partial(methods.Dropout, rate=0.0),
    "deep_ensemble": methods.DeepEnsemble,
    "treenet": methods.TreeNet,
    "masksembles": partial(methods.Masksembles, scale=1),
    "batch_ensemble": partial(methods.BatchEnsemble, init="close"),
    "naive_multihead": methods.NaiveMultihead,
    "mimo": methods.MIMO,
}
CLOSE = {"batch_ensemble": 0.1, "naive_multihead": 0.05, "mimo": 0.05}  # of the logits' spread


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(1)
    network = timm.create_model(NAME, num_classes=7, img_size=SIZE, **FORM)
    with torch.no_grad():
        network.head.weight.normal_()
    return network.eval()


@pytest.fixture(params=["pth", "safetensors"])
def file(request, published, tmp_path):
    path = tmp_path / f"weights.{request.param}"
    if request.param == "pth":
        torch.save({"state_dict": published.state_dict()}, path)
    else:
        from safetensors.torch import save_file

        save_file(published.state_dict(), path)
    return str(path)


def built(file, num_classes=7):
    return timm_model(NAME, num_classes, image_size=SIZE, pretrained=file, kwargs=FORM)


@pytest.mark.parametrize("method", KEPT)
def test_first_predictions_are_the_pretrained_networks(method, file, published):
    ensemble = KEPT[method](partial(built, file), SHAPE).eval()
    x = torch.randn(5, *SHAPE)
    with torch.no_grad():
        wanted, logits = published(x), ensemble(x)
    assert logits.shape == (ensemble.ensemble.M, 5, 7)
    atol = CLOSE.get(method, 1e-4) * wanted.std().item()
    torch.testing.assert_close(logits, wanted.expand_as(logits), atol=atol, rtol=0)


@pytest.mark.parametrize("method", ["naive_multihead", "mimo", "batch_ensemble"])
def test_members_that_share_numbers_start_apart(method, file):
    logits = KEPT[method](partial(built, file), SHAPE).eval()(torch.randn(2, *SHAPE))
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("method", KEPT)
def test_other_classes_get_a_new_head_on_the_pretrained_body(method, file, published):
    ensemble = KEPT[method](partial(built, file, 3), SHAPE).eval()
    assert ensemble(torch.randn(2, *SHAPE)).shape == (ensemble.ensemble.M, 2, 3)
    body = ensemble.ensemble.member(0).state_dict()
    if method not in ("batch_ensemble", "dropout"):
        torch.testing.assert_close(body["blocks.1.mlp.fc1.weight"], published.blocks[1].mlp.fc1.weight.detach())


def test_copies_of_a_pretrained_network_keep_its_numbers(file):
    one, other = methods.DeepEnsemble(built(file), SHAPE, M=2).ensemble.networks
    assert torch.equal(one.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)


def test_other_fast_weights_on_pretrained_layers_are_said(file):
    with pytest.warns(UserWarning, match="init=close"):
        methods.BatchEnsemble(partial(built, file), SHAPE)


def test_says_what_cannot_be_read(tmp_path):
    other = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(1)}, other)
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    for path, why in (
        ("none.pth", "cannot be read"),
        ("broken.pth", "cannot be read"),
        ("other.pth", "no head.weight"),
    ):
        with pytest.raises(UserError, match=rf"^model\.pretrained=\S+{path} .*{why}") as caught:
            built(str(tmp_path / path))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="use model=timm"):
        torchvision_model("resnet18", 10, pretrained="weights.pth")


@pytest.mark.parametrize("method", ["batch_ensemble", "packed"])
def test_from_the_command_line(method, file, tiny):
    ended = tiny(
        *(f"method={method}", "model=timm", f"model.name={NAME}", f"model.pretrained={file}"),
        *("model.kwargs={patch_size: 8, depth: 2, embed_dim: 24}", "data.image_size=32", "data.train_size=32"),
        *("recipe.epochs=1",),
    )
    if method == "packed":
        assert ended.code == 1 and "nothing would be left of model.pretrained" in ended.err
    else:
        assert ended.code == 0, ended.err
