"""Widths that follow from one another, against networks whose constructors take them."""

import pytest
import timm
import torch
from torch import nn

from ensembles.backbones.dimensions import dimensions, ends
from ensembles.backbones.resize import resize
from ensembles.backbones.trace import first_layers, inner_layers, trace
from ensembles.errors import UserError

VIT = {"depth": 2, "img_size": 32, "patch_size": 8}


def meta(name, **kwargs):
    with torch.device("meta"):
        return timm.create_model(name, num_classes=10, **kwargs).eval()


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("ratio", [0.5, 2])
@pytest.mark.parametrize(
    ("name", "common", "widths"),
    [
        ("vit_tiny_patch16_224", {**VIT, "num_heads": 3}, {"embed_dim": 96}),
        ("vit_tiny_patch16_224", {**VIT, "num_heads": 3, "global_pool": "map"}, {"embed_dim": 96}),
        ("beit_base_patch16_224", {**VIT, "num_heads": 3}, {"embed_dim": 96}),
        ("eva02_tiny_patch14_336", {**VIT, "num_heads": 2, "scale_mlp": False}, {"embed_dim": 96}),
        ("convnext_atto", {"depths": (1, 1, 2, 1)}, {"dims": (16, 32, 64, 96)}),
        ("swin_tiny_patch4_window7_224", {"img_size": 32, "window_size": 2, "depths": (2, 2)}, {"embed_dim": 48}),
        ("davit_tiny", {"depths": (1, 1, 1, 1)}, {"embed_dims": (48, 96, 192, 384)}),
        ("xcit_nano_12_p16_224", {"img_size": 32, "depth": 2}, {"embed_dim": 64}),
    ],
)
def test_is_what_the_constructor_makes_of_the_widths(name, common, widths, ratio):
    scaled = {
        key: tuple(int(ratio * n) for n in v) if isinstance(v, tuple) else int(ratio * v) for key, v in widths.items()
    }
    network, wanted = meta(name, **common, **widths), meta(name, **common, **scaled)
    assert shapes(resize(network, ratio, (3, 32, 32))) == shapes(wanted)
    for module, other in zip(network.modules(), wanted.modules(), strict=True):
        assert getattr(module, "scale", 1) == getattr(other, "scale", 1) or isinstance(module.scale, nn.Parameter)
    with torch.no_grad():
        assert network(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


class Own(nn.Module):
    """Parts of a width by name, number and half; heads; a sum with a concatenation; counts that are no widths."""

    def __init__(self, dim=24, heads=3):
        super().__init__()
        self.dim, self.heads, self.parts = dim, heads, [8, 16]
        self.stem = nn.Conv2d(3, dim, 3)
        self.left, self.right = nn.Conv2d(8, 10, 1), nn.Conv2d(16, 14, 1)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.tokens = nn.Linear(36, 36)
        self.gamma = nn.Parameter(torch.ones(dim))
        self.table = nn.Parameter(torch.randn(heads, 36, 36))
        self.out = nn.Linear(dim // 2, 10)

    def forward(self, x):
        x = self.stem(x)
        left, right = x.split(self.parts, dim=1)
        x = x + torch.cat([self.left(left), self.right(right)], dim=1)
        B, C, H, W = x.shape
        x = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(x).reshape(B, H * W, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        x = (q @ k.transpose(-1, -2) + self.table).softmax(-1) @ v
        x = self.gamma * x.transpose(1, 2).reshape(B, H * W, self.dim)
        x = x.transpose(1, 2)
        x = (x + self.tokens(x)).mean(-1)
        return self.out(x[:, : self.dim // 2])


@pytest.mark.parametrize("ratio", [0.5, 2 / 3, 0.3, 3])
def test_parts_of_a_width_go_with_it(ratio):
    network = resize(Own(), ratio, (3, 8, 8)).eval()
    dim = network.dim
    assert dim % 6 == 0 and dim >= 24 * ratio and network.heads == 3
    assert network.stem.weight.shape[0] == dim == sum(network.parts) == len(network.gamma)
    assert network.left.out_channels + network.right.out_channels == dim
    assert network.tokens.weight.shape == (36, 36) and network.table.shape == (3, 36, 36)
    assert network.out.in_features == dim // 2
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_a_width_that_the_code_fixes_stays_and_is_said():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fixed, self.fc = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 64, 1), nn.Linear(64, 10)
            self.wide = nn.Linear(64, 64)

        def forward(self, x):
            x = self.fixed(self.conv(x)).mean((2, 3)) + torch.ones(64, device=x.device)
            return self.fc(x + self.wide(x))

    with pytest.warns(UserWarning, match=r"Fixed keeps layers with \d\d% of its parameters as they are"):
        network = resize(Fixed(), 0.5, (3, 8, 8))
    assert network.conv.out_channels == 4 and network.wide.weight.shape == (64, 64)


def test_ends_that_are_several():
    network = meta("crossvit_tiny_240")
    first, last = ends(network, (3, 240, 240))
    assert first == ["patch_embed.0.proj", "patch_embed.1.proj"] and last == ["head.0", "head.1"]


def test_refuses_where_nothing_is_left():
    with pytest.raises(UserError, match=r"^\w+ does not work at"):
        resize(nn.Sequential(nn.Flatten(), nn.Linear(48, 10)), 0.5, (3, 4, 4))


class Groups(nn.Module):
    """Groups of a concatenation of the image's channels, which are fixed, with others."""

    def __init__(self, channels=13, groups=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, channels, 1), nn.GroupNorm(groups, 3 + channels)
        self.fc = nn.Linear(3 + channels, 10)

    def forward(self, x):
        return self.fc(self.norm(torch.cat([x, self.conv(x)], dim=1)).mean((2, 3)))


def test_a_fixed_part_that_no_groups_divide_is_refused():
    with pytest.raises(UserError, match=r"^At 0\.5 times its width .* whole groups .* choose alpha = M"):
        resize(Groups(), 0.5, (3, 8, 8))
    assert resize(Groups(9, 3), 0.5, (3, 8, 8)).norm.num_channels == 9


class Indexed(nn.Sequential):
    def forward(self, x):
        x = self[0](x)
        return self[1](x.mean((2, 3))) * ((1.0,) * 8)[x.shape[1] - 1]


def test_whatever_a_network_raises_at_another_width_is_a_sentence():
    with pytest.raises(UserError, match=r"^Indexed does not work at 2 times its width \(tuple index out of range\)"):
        resize(Indexed(nn.Conv2d(3, 8, 1), nn.Linear(8, 10)), 2, (3, 8, 8))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, input):
        return input + self.two(input=self.one(input=input).relu())


class Named(nn.Module):
    """A block, and layers, that are called by keyword."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.fc = nn.Conv2d(3, 8, 1), Block(), nn.Linear(8 * 16, 10)

    def forward(self, x):
        return self.fc(input=self.block(input=self.stem(input=x)).flatten(1))


def test_layers_that_are_called_by_keyword():
    network = Named()
    steps = [(step.name, step.pixels) for step in trace(network, (3, 4, 4)).steps]
    assert steps == [("stem", 1), ("block.one", 1), ("block.two", 1), ("fc", 16)]
    assert first_layers(network, (3, 4, 4)) == ["block.one"] and inner_layers(network, (3, 4, 4)) == ["block.two"]
    assert resize(network, 0.5, (3, 4, 4)).fc.in_features == 64


class Pair(nn.Linear):
    def forward(self, x):
        x = super().forward(x.flatten(1))
        return x, x


@pytest.mark.parametrize("follow", [trace, dimensions, ends])
def test_a_network_that_gives_no_tensor_is_refused(follow):
    with pytest.raises(UserError, match=r"^Pair gives a tuple, not a tensor: have it return its logits alone\.$"):
        follow(Pair(12, 10), (3, 2, 2))
