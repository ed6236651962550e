"""What airbench's network does before its first and after its last layer."""

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from ensembles import mimo
from ensembles.backbones import airbench
from ensembles.backbones.airbench import Whitening, identity_start
from ensembles.errors import UserError


def test_patches_of_photographs_come_out_nearly_white():
    pixels = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images]).permute(0, 3, 1, 2)
    images = pixels.double()
    images = (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)
    whitening = Whitening(3).double()
    patches = torch.nn.functional.unfold(images, 2).transpose(0, 1).flatten(1)
    found = whitening.filters.flatten(1)[:12] @ patches
    correlations = torch.corrcoef(found).fill_diagonal_(0).abs()
    before = torch.corrcoef(patches).fill_diagonal_(0).abs()
    assert correlations.mean() < 0.1 and before.mean() > 0.7
    assert torch.equal(whitening.filters[12:], -whitening.filters[:12])


def test_each_of_several_images_is_whitened_apart():
    x = torch.randn(2, 6, 9, 9)
    whitening = Whitening(3)
    assert torch.equal(whitening(x), torch.cat([whitening(x[:, :3]), whitening(x[:, 3:])], dim=1))


def test_mimo_s_subnetworks_each_read_their_own_image():
    """The second image has no way to the output but through the second half of the first convolution's inputs."""
    ensemble = mimo(lambda: airbench(10, widths=(4, 4, 4)), M=2).eval()
    with torch.no_grad():
        ensemble.network.get_submodule("layer1.conv1").weight[:, 24:] = 0
    x = torch.randn(2, 3, 3, 32, 32, requires_grad=True)
    ensemble.each(x).square().sum().backward()
    assert x.grad[0].abs().max() > 0 and not x.grad[1].any()


@pytest.mark.parametrize("groups", [1, 2])
def test_the_first_filters_pass_the_inputs_on(groups):
    layer = nn.Conv2d(4, 8, 3, padding=1, groups=groups, bias=False)
    identity_start(layer)
    x = torch.randn(2, 4, 5, 5)
    passed = layer(x).unflatten(1, (groups, -1))[:, :, : 4 // groups].flatten(1, 2)
    torch.testing.assert_close(passed, x)
    rest = layer.weight.unflatten(0, (groups, -1))[:, 4 // groups :]
    assert (rest != 0).all()


@pytest.mark.parametrize(("M", "filters"), [(2, 16), (3, 64), (3, 72)])
def test_fewer_filters_than_inputs_pass_on_as_much_of_each_of_mimo_s_images(M, filters):
    weight = mimo(lambda: airbench(10, widths=(filters, 4, 4)), M=M).network.get_submodule("layer1.conv1").weight
    passed = [int((image[:, :, 1, 1] == 1).sum()) for image in weight.chunk(M, dim=1)]
    assert sum(passed) == filters and max(passed) - min(passed) <= 1
    assert (weight.flatten(1) != 0).sum(1).eq(1).all()


def test_only_biases_of_norms_are_trained_at_any_width():
    for network in (airbench(10, widths=(4, 4, 4)), airbench(10, widths=(4, 4, 4), width=0.5)):
        still = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
        assert still == {f"layer{i}.bn{j}.weight" for i in (1, 2, 3) for j in (1, 2)}


def test_grey_images_and_the_network_without_whitening():
    assert airbench(10, in_channels=1, image_size=9, widths=(4, 4, 4))(torch.randn(2, 1, 9, 9)).shape == (2, 10)
    network = airbench(10, image_size=8, widths=(4, 4, 4), whiten=False, scale=0.5).eval()
    x = torch.randn(2, 3, 8, 8)
    expected = 0.5 * network.fc(network[: list(dict(network.named_children())).index("scale")](x))
    torch.testing.assert_close(network(x), expected)
    with pytest.raises(UserError, match=r"data\.image_size is 8, but airbench halves images three times: set it to 9"):
        airbench(10, image_size=8)
