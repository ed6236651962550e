"""torchvision's and timm's models: adapted to the task, pretrained or not, and what is said where that cannot be."""

from urllib.error import URLError

import pytest
import timm
import torch
from torchvision import models

from ensembles.backbones import timm_model, torchvision_model
from ensembles.errors import UserError

TV_LOADER = "torchvision.models._api.load_state_dict_from_url"
TIMM_LOADER = "timm.models._builder.load_state_dict_from_hf"
ADAPTED = {
    1: lambda weight: weight.sum(1, keepdim=True),
    3: lambda weight: weight,
    5: lambda weight: weight[:, [0, 1, 2, 0, 1]] * 3 / 5,
}


def serve(monkeypatch, loader, state):
    monkeypatch.setattr(loader, lambda *args, **kwargs: {key: value.clone() for key, value in state.items()})


def fail(monkeypatch, loader, error):
    def raise_(*args, **kwargs):
        raise error

    monkeypatch.setattr(loader, raise_)


def assert_kept(network, published, first, head, num_classes, in_channels):
    """All published numbers but the head's, and the first layer's fitted to the channels."""
    state = network.state_dict()
    for key, value in published.items():
        if key == first:
            torch.testing.assert_close(state[key], ADAPTED[in_channels](value))
        elif key.startswith(head):
            assert state[key].shape == (num_classes, *value.shape[1:])
            assert (num_classes == 1000) == (state[key].shape == value.shape and torch.equal(state[key], value))
        else:
            assert torch.equal(state[key], value)


@pytest.mark.parametrize(("num_classes", "in_channels"), [(10, 3), (10, 1), (7, 5), (1000, 3)])
@pytest.mark.parametrize(
    ("name", "first", "head"),
    [("shufflenet_v2_x0_5", "conv1.0.weight", "fc."), ("squeezenet1_1", "features.0.weight", "classifier.1.")],
)
def test_pretrained_torchvision(monkeypatch, name, first, head, num_classes, in_channels):
    published = models.get_model(name).state_dict()
    serve(monkeypatch, TV_LOADER, published)
    network = torchvision_model(name, num_classes, in_channels, image_size=32, pretrained=True)
    assert_kept(network, published, first, head, num_classes, in_channels)
    assert network(torch.randn(2, in_channels, 32, 32)).shape == (2, num_classes)


@pytest.mark.parametrize(("num_classes", "in_channels"), [(10, 3), (10, 1), (7, 5), (1000, 3)])
def test_pretrained_timm(monkeypatch, num_classes, in_channels):
    published = timm.create_model("test_resnet").state_dict()
    serve(monkeypatch, TIMM_LOADER, published)
    network = timm_model("test_resnet.r160_in1k", num_classes, in_channels, pretrained=True)
    assert_kept(network, published, "conv1.0.weight", "fc.", num_classes, in_channels)
    assert network(torch.randn(2, in_channels, 32, 32)).shape == (2, num_classes)


@pytest.mark.parametrize(("name", "size"), [("inception_v3", 96), ("googlenet", 32)])
@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_auxiliary_heads_are_left_out(monkeypatch, name, size, pretrained):
    if pretrained:
        published = models.get_model(name, aux_logits=True, init_weights=False).state_dict()
        serve(monkeypatch, TV_LOADER, published)
    network = torchvision_model(
        name, 7, in_channels=1, image_size=size, pretrained=pretrained, kwargs={"init_weights": False}
    )
    assert network.train()(torch.randn(2, 1, size, size)).shape == (2, 7)
    assert not [key for key in network.state_dict() if key.lower().startswith("aux")]


@pytest.mark.parametrize("channels", [1, 12])
def test_a_fresh_first_layer_keeps_its_gain(channels):
    old = models.squeezenet1_1().features[0].weight
    new = torchvision_model("squeezenet1_1", 10, in_channels=channels).features[0].weight
    assert new.shape == (64, channels, 3, 3)
    assert len(new.unique()) > 0.99 * new.numel()
    outputs = [weight.std().item() * weight[0].numel() ** 0.5 for weight in (old, new)]
    assert outputs[0] == pytest.approx(outputs[1], rel=0.1)


def test_more_arguments_reach_the_constructor():
    assert torchvision_model("mobilenet_v3_small", 10, kwargs={"dropout": 0.35}).classifier[2].p == 0.35
    assert timm_model("test_resnet", 10, kwargs={"drop_rate": 0.35}).drop_rate == 0.35
    assert len(timm_model("test_vit", 10, kwargs={"depth": 2}).blocks) == 2


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: torchvision_model("vgg11bn", 10),
            r"model\.name=vgg11bn is no classifier of torchvision: did .* vgg11_bn",
        ),
        (
            lambda: torchvision_model("qqqqqqq", 10),
            r"model\.name=qqqqqqq is no classifier of torchvision: see its list",
        ),
        (lambda: torchvision_model("raft_small", 10), r"model\.name=raft_small is no classifier"),
        (
            lambda: timm_model("resnet_26", 10),
            r"model\.name=resnet_26 is no classifier of timm: did you mean .*resnet26",
        ),
        (lambda: timm_model("resnet50.a1_in2k", 10), r"did you mean resnet50\.a1_in1k"),
        (lambda: torchvision_model("vgg11", 10, kwargs={"nope": 1}), r"model\.kwargs does not suit vgg11 .*'nope'"),
        (
            lambda: timm_model("test_resnet", 10, kwargs={"nope": 1}),
            r"model\.kwargs does not suit test_resnet .*'nope'",
        ),
        (lambda: torchvision_model("vgg11_bn", 10, image_size=8), r"data\.image_size: .* 3x8x8; set it to 32 or"),
        (lambda: torchvision_model("vit_b_32", 10), r"data\.image_size: .* 3x32x32; set it to 224 or"),
        (lambda: timm_model("vgg11", 10, image_size=8), r"data\.image_size: .* 3x8x8; set it to 32 or"),
        (
            lambda: timm_model("test_vit", 10, image_size=8),
            r"data\.image_size: .* 3x8x8 \(Input height .*\); change it or",
        ),
        (
            lambda: timm_model("nest_tiny", 10, image_size=8),
            r"data\.image_size: timm cannot build nest_tiny .* to 224,",
        ),
        (
            lambda: timm_model("selecsls84", 10, pretrained=True),
            r"no weights of selecsls84: set model\.pretrained=false",
        ),
        (lambda: torchvision_model("resnet18", 10, width=0.5, pretrained=True), r"set model\.width=1 or"),
        (lambda: timm_model("test_resnet", 10, width=2, pretrained=True), r"set model\.width=1 or"),
    ],
)
def test_refuses_in_one_sentence(build, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError('invalid hash value (expected "1", got "2")')])
def test_a_failed_download_of_torchvision(monkeypatch, error):
    fail(monkeypatch, TV_LOADER, error)
    with pytest.raises(
        UserError, match=r"put the file https://\S+/squeezenet1_1-\S+ into \S+ or set model\.pretrained=false"
    ):
        torchvision_model("squeezenet1_1", 10, pretrained=True)


def test_a_failed_download_of_timm(monkeypatch):
    fail(monkeypatch, TIMM_LOADER, FileNotFoundError("no route\nsecond line"))
    with pytest.raises(
        UserError, match=r"\(no route\): connect to the network once, .* or set model\.pretrained=false\.$"
    ):
        timm_model("test_resnet", 10, pretrained=True)
