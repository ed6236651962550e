"""Masksembles: one network behind M fixed masks."""

import copy
from itertools import combinations

import pytest
import torch
from torch import nn

from ensembles import cost
from ensembles.backbones import small_cnn, torchvision_model, wrn
from ensembles.errors import UserError
from ensembles.methods.masksembles import channel_masks, masksembles
from ensembles.rng import generator


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("M", [1, 2, 4, 8])
def test_masks(M, scale):
    """All alike in their number of ones, each channel used, the number of ones as the expected width asks."""
    for channels in (1, 3, 16, 67, 640):
        masks = channel_masks(channels, M, scale, generator(0))
        assert masks.shape == (M, channels)
        assert masks.unique().tolist() in ([0, 1], [1])
        assert masks.any(0).all()
        assert len(masks.sum(1).unique()) == 1
    ones = masks[0].sum().item()
    assert ones * scale * (1 - (1 - 1 / scale) ** M) == pytest.approx(640, rel=0.01)


@pytest.mark.parametrize("scale", [1.5, 2.0, 4.0])
def test_overlap_is_set_by_the_scale(scale):
    """Of a mask's ones, put at random among scale times as many places, a share 1 / scale meets another mask's."""
    masks = channel_masks(2000, 6, scale, generator(0))
    shares = [(masks[a] * masks[b]).sum() / masks[a].sum() for a, b in combinations(range(6), 2)]
    assert torch.stack(shares).mean().item() == pytest.approx(1 / scale, abs=0.02)


def test_masks_that_may_not_overlap():
    masks = channel_masks(8, 2, 1000.0, generator(0))
    assert (masks.sum(0) == 1).all() and (masks.sum(1) == 4).all()


@pytest.mark.parametrize(
    ("backbone", "size"),
    [(lambda: small_cnn(10, image_size=16), 16), (lambda: torchvision_model("shufflenet_v2_x0_5", 10), 32)],
)
def test_equals_masking_the_activations(backbone, size):
    """Channels zeroed before each layer but the first, all members at once: outputs and gradients agree, float64."""
    M, B = 3, 4
    ensemble = masksembles(backbone, M=M, input_shape=(3, size, size)).double()
    masked = copy.deepcopy(ensemble.network)
    _, *layers = [layer for layer in masked.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for index, layer in enumerate(layers):
        mask = ensemble.get_buffer(f"mask{index}").repeat_interleave(B, 0)
        layer.register_forward_pre_hook(
            lambda _, inputs, mask=mask: inputs[0] * mask.view(*mask.shape, *[1] * (inputs[0].dim() - 2))
        )
    x = torch.randn(B, 3, size, size, dtype=torch.double)
    logits, by_masking = ensemble(x), masked(x.repeat(M, 1, 1, 1)).unflatten(0, (M, B))
    torch.testing.assert_close(logits, by_masking)
    for out in (logits, by_masking):
        out.square().sum().backward()
    for a, b in zip(ensemble.network.parameters(), masked.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_flattened_channel_is_kept_or_left_whole():
    ensemble = masksembles(lambda: small_cnn(10, image_size=16), M=4, input_shape=(3, 16, 16))
    by_channel = ensemble.get_buffer("mask2").view(4, 32, 4)  # 32 channels of 2x2 places
    assert (by_channel == by_channel[..., :1]).all()
    assert by_channel[..., 0].sum(1).tolist() == [17] * 4  # 32 / (2 (1 - 1/16))


def test_masks_follow_from_the_settings_alone():
    one = masksembles(lambda: wrn(16, 1, 10))
    torch.manual_seed(99)
    other = masksembles(lambda: wrn(16, 1, 10))
    masks = {name: mask for name, mask in one.named_buffers() if name.startswith("mask")}
    assert len(masks) == 15 and masks.keys() <= one.state_dict().keys()
    assert all(torch.equal(mask, other.get_buffer(name)) for name, mask in masks.items())
    assert not torch.equal(masks["mask0"], masks["mask1"])


def test_parameters_of_the_table():
    """Packed-Ensembles, Table 1: a WRN-28-10 with biases on convolutions, masks counted; else the backbone's own."""
    with torch.device("meta"):
        backbone = wrn(28, 10, 10, late_stride=True, conv_bias=True)
        ensemble = masksembles(backbone)
    assert cost.parameters(ensemble) == cost.parameters(backbone)
    masks = sum(mask.numel() for name, mask in ensemble.named_buffers() if name.startswith("mask"))
    assert cost.parameters(ensemble) + masks == 36_527_178 == pytest.approx(36.53e6, rel=1e-4)


@pytest.mark.parametrize("scale", [0.5, 7, "2"])
def test_refuses(scale):
    with pytest.raises(UserError, match=r"scale is .* but must be a number from 1 to 6"):
        masksembles(lambda: small_cnn(10), scale=scale)
