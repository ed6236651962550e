"""The check that any network passes before it is trained."""

import pytest
import torch
from torch import nn

from ensembles.backbones import small_cnn
from ensembles.backbones.fit import check
from ensembles.errors import UserError


def network(*layers):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), *layers)


class Tuple(nn.Linear):
    def forward(self, x):
        out = super().forward(x.flatten(1))
        return (out, out) if self.training else out


def test_leaves_no_trace():
    net = network(nn.Linear(4 * 36, 10)).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    check(net, (3, 8, 8), 10)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_names_a_size_that_works():
    with pytest.raises(UserError, match="cannot take inputs of 3x10x10; set it to 64 or choose another model"):
        check(network(nn.Linear(4 * 62**2, 10)), (3, 10, 10), 10)
    with pytest.raises(UserError, match=r"cannot take inputs of 1x8x8 \(.+\); change it or choose another model"):
        check(network(nn.Linear(4 * 36, 10)), (1, 8, 8), 10)


def test_asks_for_logits():
    with pytest.raises(UserError, match=r"gives \('B', 9\), not logits \(B, 10\)"):
        check(network(nn.Linear(4 * 36, 9)), (3, 8, 8), 10)
    with pytest.raises(UserError, match="gives tuple, not logits"):
        check(Tuple(12, 10), (3, 2, 2), 10)


def test_small_cnn_needs_eight_pixels():
    with pytest.raises(UserError, match=r"data\.image_size is 7, .* set it to 8 or up"):
        small_cnn(10, image_size=7)
