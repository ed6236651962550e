"""MC dropout (Gal & Ghahramani, 2016): members are samples of one network that draws masks, also at test."""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ensembles.backbones.dimensions import ends
from ensembles.backbones.trace import first_layers, inner_layers, trace
from ensembles.errors import UserError
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Ensemble, Method, fresh
from ensembles.rng import seed_of


class DropoutNetwork(Ensemble):
    """A network with dropout inside its residual blocks, see `dropout_sites`; (B, *input_shape) -> (samples, B, K).

    At test member m's masks follow from the image and m alone. A pass in training mode is a single sample, so
    that its logits are (1, B, K).

    Args:
        backbone: a freshly initialised network, or a function that builds one.
        rate: share of the elements that are zeroed.
        samples: passes at test, the members; in training there is one. The papers take one at test too.
        site: inside residual blocks before each of the ``convolutions`` but the first, as MIMO's text says; or
            ``residual``, once a block after the first convolution, as in its released code's residual mode.

    Attributes:
        salt: what a training pass's masks follow from, besides the images; None draws it from torch's generator.

    Raises:
        UserError: a setting out of its range, a network of one layer, or one without residual blocks where they are
            needed.
    """

    def __init__(
        self,
        backbone: Backbone,
        rate: float = 0.1,
        samples: int = 1,
        input_shape: tuple[int, ...] = (3, 32, 32),
        site: Literal["convolutions", "residual"] = "convolutions",
    ) -> None:
        super().__init__()
        require("method.", rate=rate, samples=samples, site=site)
        (network,) = fresh(backbone, 1)
        self.M, self.input_shape = samples, tuple(input_shape)
        self.network = network
        self.salt: int | None = None
        self._draw = _Draw(rate)
        for number, name in enumerate(dropout_sites(network, input_shape, site)):
            layer = network.get_submodule(name)
            if site == "residual":
                layer.register_forward_hook(partial(_drop_output, self._draw, number))
            else:
                layer.register_forward_pre_hook(partial(_drop, self._draw, number))

    def forward(self, x: Tensor) -> Tensor:
        members = range(1 if self.training else self.M)
        return torch.stack([self.sample(x, m) for m in members])

    def each(self, x: Tensor) -> Tensor:
        return torch.stack([self.sample(own, m) for m, own in enumerate(x)])

    def sample(self, x: Tensor, m: int) -> Tensor:
        """Compute logits (B, K) of one pass with member m's masks."""
        if self.training:
            salt = int(torch.randint(2**31, ())) if self.salt is None else self.salt
            self._draw.keys = image_keys(x, seed_of("dropout", "train", salt, m))
        else:
            self._draw.keys = image_keys(x, seed_of("dropout", "test", m))
        try:
            return self.network(x)
        finally:
            self._draw.keys = None

    def head(self) -> list[nn.Module]:
        _, last = ends(self.member(0), self.input_shape)
        return [self.get_submodule(name.removeprefix("ensemble.")) for name in last]

    def member(self, m: int) -> nn.Module:
        """Give sample m as a network: its weights are the stored ones, its masks its own."""
        return Sample(self, m)


class Sample(nn.Module):
    """One sample of a network with dropout, (B, *input_shape) -> (B, K)."""

    def __init__(self, ensemble: DropoutNetwork, m: int) -> None:
        super().__init__()
        self.ensemble, self.m = ensemble, m

    def forward(self, x: Tensor) -> Tensor:
        return self.ensemble.sample(x, self.m)


class _Draw:
    """What a pass's masks are drawn from, for the hooks."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.keys: Tensor | None = None


def _drop(draw: _Draw, number: int, layer: nn.Module, inputs: tuple) -> tuple:
    return drop(inputs[0], draw.keys, number, draw.rate), *inputs[1:]


def _drop_output(draw: _Draw, number: int, layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return drop(output, draw.keys, number, draw.rate)


def dropout_sites(network: nn.Module, input_shape: tuple[int, ...], site: str = "convolutions") -> list[str]:
    """Name the layers that dropout sits before; with ``site="residual"``, after.

    That one is the residual mode of MIMO's released baseline: a single dropout a block, between its first convolution
    and what follows it, in a wide residual network the second norm.

    Otherwise, in a residual network a block's layers but the first, the shortcut's convolution left out, as in MIMO's
    text and in the wide residual networks' own paper (Zagoruyko & Komodakis, 2016). In a plain network all convolutions
    but the first; in one without convolutions, linear layers.
    """
    if site == "residual":
        found = first_layers(network, input_shape)
        if not found:
            raise UserError(
                f"method.site=residual needs residual blocks, and this {type(network).__name__} has none: "
                "set method.site=convolutions."
            )
        return found
    # not layers that compute tables of positions, say
    layers = [step.name for step in trace(network, input_shape).steps if step.batched]
    inner = [name for name in inner_layers(network, input_shape) if name in layers]
    if inner:
        return inner
    convolutions = [name for name in layers if isinstance(network.get_submodule(name), nn.Conv2d)]
    found = convolutions[1:] or layers[1:]
    if not found:
        raise UserError(f"dropout sits between layers, and this {type(network).__name__} has only one.")
    return found


dropout = DropoutNetwork


class Dropout(Method):
    """One network trained with dropout that stays on at test; settings as `dropout` takes them.

    A step's masks follow from the data's seed, the epoch, the step and the images, so several processes draw as one.
    """

    @settings_of(dropout)
    def __init__(self, backbone: Backbone, input_shape: tuple[int, ...], **settings) -> None:
        super().__init__(dropout(backbone, input_shape=input_shape, **settings))

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        seed = getattr(self.trainer.datamodule, "seed", 0)
        self.ensemble.salt = seed_of(seed, "dropout", self.current_epoch, batch_idx)


LEVELS = 16  # steps to a standard deviation to which an image is rounded, so that rounding errors change no mask
MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)  # of Wellons' "lowbias32" hash, as signed integers
MIXED = -0x61C88647  # odd, so that its multiples tell layers apart


def image_keys(x: Tensor, salt: int) -> Tensor:
    """Hash each image, (B, ...) -> (B,) int32."""
    levels = (x.detach().float() * LEVELS).round().to(torch.int32).flatten(1)
    places = _mix(torch.arange(levels.shape[1], dtype=torch.int32, device=x.device))
    return _mix((levels * places).sum(1).to(torch.int32) ^ _signed(salt))


def drop(x: Tensor, keys: Tensor, layer: int, rate: float) -> Tensor:
    """Zero a share ``rate`` of the elements of x, (B, ...), and scale the others up to keep the mean.

    Args:
        keys: (B,), from `image_keys`.
        layer: tells the places in a network where elements are dropped.
    """
    parts = x.shape[0] // keys.shape[0]  # windows, say, into which an image was cut
    channels_last = x.dim() == 4  # the masks' order in memory is the images'
    shape = [x.shape[i] for i in (2, 3, 1)] if channels_last else list(x.shape[1:])
    size = parts * math.prod(shape)
    places = _mix(torch.arange(size, dtype=torch.int32, device=x.device) + _signed(layer * MIXED))
    numbers = _scramble(keys[:, None] ^ places)
    kept = (numbers >= round(rate * 2**32) - 2**31).view(x.shape[0], *shape)
    if channels_last:
        kept = kept.permute(0, 3, 1, 2)
    return x * kept * (1 / (1 - rate))


def _mix(numbers: Tensor) -> Tensor:
    numbers = _scramble(numbers ^ ((numbers >> 16) & 0xFFFF))
    return numbers ^ ((numbers >> 16) & 0xFFFF)


def _scramble(numbers: Tensor) -> Tensor:
    """Spread every bit of already mixed numbers over the high bits, in place."""
    numbers *= MULTIPLIERS[0]
    numbers ^= (numbers >> 15) & 0x1FFFF
    numbers *= MULTIPLIERS[1]
    return numbers


def _signed(number: int) -> int:
    """Take the number modulo 2^32 as a signed 32-bit integer."""
    return (number + 2**31) % 2**32 - 2**31
