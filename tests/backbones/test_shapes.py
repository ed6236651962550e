"""All builders: (B, C, S, S) -> (B, K) at every size that makes sense, and the papers' counts."""

from functools import partial

import pytest
import torch

from ensembles.backbones import (
    airbench,
    mlp,
    resnet18,
    resnet34,
    resnet50,
    small_cnn,
    timm_model,
    torchvision_model,
    wrn,
)
from ensembles.cost import multiply_adds, parameters

ANY_SIZE = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "wrn": partial(wrn, 16, 2),
    "wrn, late stride": partial(wrn, 10, 1, late_stride=True, conv_bias=True),
    "small_cnn": small_cnn,
    "airbench": partial(airbench, whiten=False),
    "mlp": mlp,
    "torchvision": partial(torchvision_model, "mobilenet_v3_small"),
    "timm": partial(timm_model, "test_resnet"),
}
SIZED = [
    (partial(torchvision_model, "vgg11_bn"), 32),
    (partial(torchvision_model, "squeezenet1_1"), 64),
    (partial(torchvision_model, "swin_t"), 32),
    (partial(torchvision_model, "vit_b_32"), 224),
    (partial(timm_model, "test_vit"), 32),
    (partial(timm_model, "test_vit"), 224),
    (partial(timm_model, "vgg11"), 64),
]


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (64, 5), (224, 3)])
@pytest.mark.parametrize("builder", ANY_SIZE.values(), ids=ANY_SIZE)
def test_any_size_and_channels(builder, size, channels):
    with torch.device("meta"):
        network = builder(num_classes=7, in_channels=channels, image_size=size)
    assert network(torch.empty(2, channels, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(("builder", "size"), SIZED)
def test_sizes_of_networks_made_for_one(builder, size):
    network = builder(num_classes=7, in_channels=1, image_size=size)
    assert network.to("meta")(torch.empty(2, 1, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(
    ("builder", "num_classes", "params", "mult_adds"),
    [
        (resnet18, 10, 11_173_962, 0.56e9),
        (resnet34, 10, 21_282_122, 1.16e9),
        (resnet50, 10, 23_520_842, 1.30e9),
        (partial(wrn, 28, 10), 10, 36_479_194, 10.49e9 / 2),
        (partial(wrn, 28, 10), 100, 36_536_884, 10.49e9 / 2),
        (partial(wrn, 28, 10, late_stride=True, conv_bias=True), 10, 36_489_290, 5.95e9),
        (partial(wrn, 28, 10, late_stride=True), 10, 36_479_194, 5.95e9),
        (small_cnn, 10, 448 + 4_640 + 9_248 + 5_130, 442_368 + 1_179_648 + 589_824 + 5_120),
        (airbench, 10, 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256**2) + 4 * (64 + 512) + 2_560, 118.1e6),
        (mlp, 10, 3_072 * 32 + 32 + 32 * 128 + 128 + 128 * 10 + 10, 3_072 * 32 + 32 * 128 + 128 * 10),
    ],
)
def test_counts_on_cifar(builder, num_classes, params, mult_adds):
    with torch.device("meta"):
        network = builder(num_classes=num_classes)
    assert parameters(network) == params
    assert multiply_adds(network, (3, 32, 32)) == pytest.approx(mult_adds, rel=0.01)


@pytest.mark.parametrize(
    ("builder", "widths"),
    [
        (resnet18, {"conv1": (3, 32), "layer4.1.conv2": (256, 256), "fc": (256, 10)}),
        (partial(wrn, 16, 4), {"conv1": (3, 8), "layer3.1.conv2": (128, 128), "fc": (128, 10)}),
        (airbench, {"layer1.conv1": (24, 32), "layer3.conv2": (128, 128), "fc": (128, 10)}),
        (small_cnn, {"conv1": (3, 8), "conv3": (16, 16), "fc": (16 * 16, 10)}),
        (mlp, {"fc1": (3072, 16), "fc2": (16, 64), "fc": (64, 10)}),
        (partial(torchvision_model, "vgg11_bn"), {"features.0": (3, 32), "classifier.6": (2048, 10)}),
        (partial(timm_model, "test_resnet"), {"fc": (48, 10)}),
    ],
)
def test_width_scales_all_but_the_ends(builder, widths):
    with torch.device("meta"):
        network = builder(num_classes=10, width=0.5)
    for name, (inputs, outputs) in widths.items():
        assert network.get_submodule(name).weight.shape[:2] == (outputs, inputs)


def test_resnets_stem_follows_the_image():
    small, large = (resnet18(10, in_channels=1, image_size=size) for size in (64, 65))
    assert (small.conv1.kernel_size, small.conv1.stride) == ((3, 3), (1, 1))
    assert (large.conv1.kernel_size, large.conv1.stride) == ((7, 7), (2, 2))
    features = []
    for network, size in ((small, 64), (large, 224)):
        network.layer1.register_forward_hook(lambda m, x, y: features.append(y.shape[-1]))
        network.to("meta")(torch.empty(2, 1, size, size, device="meta"))
    assert features == [64, 56]


@pytest.mark.parametrize("size", [32, 96])
def test_resnets_stem_starts_like_torchvisions(size):
    conv = resnet18(10, image_size=size).conv1
    fan_out = conv.out_channels * conv.kernel_size[0] ** 2
    assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.08)


def test_mlp_takes_vectors():
    network = mlp(2, in_channels=5, image_size=1).eval()
    x = torch.randn(4, 5)
    torch.testing.assert_close(network(x), network(x[:, :, None, None]))
