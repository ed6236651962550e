"""MC dropout (Gal & Ghahramani, 2016): members are samples of one network that draws masks, also at test."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ensembles.backbones.residual import first_layers, inner_layers
from ensembles.backbones.trace import trace
from ensembles.errors import UserError
from ensembles.keyed import seed_of
from ensembles.limits import require
from ensembles.members import masks
from ensembles.members.ensemble import Ensemble
from ensembles.members.fresh import Backbone, fresh


class Dropout(Ensemble):
    """A network with dropout inside its residual blocks, see `sites`.

    At test member m's masks follow from the image and m alone. A pass in training mode is a single sample, so
    that its logits are (1, B, K).

    Attributes:
        salt: what a training pass's masks follow from, besides the images; None draws it from torch's generator.
    """

    def __init__(self, network: nn.Module, rate: float, samples: int, input_shape: tuple[int, ...], site: str) -> None:
        super().__init__()
        require("method.", rate=rate, samples=samples, site=site)
        self.M = samples
        self.input_shape = tuple(input_shape)
        self.network = network
        self.salt: int | None = None
        self._draw = _Draw(rate)
        for number, name in enumerate(sites(network, input_shape, site)):
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
        """Logits (B, K) of one pass with member m's masks."""
        if self.training:
            salt = int(torch.randint(2**31, ())) if self.salt is None else self.salt
            self._draw.keys = masks.keys(x, seed_of("dropout", "train", salt, m))
        else:
            self._draw.keys = masks.keys(x, seed_of("dropout", "test", m))
        try:
            return self.network(x)
        finally:
            self._draw.keys = None

    def member(self, m: int) -> nn.Module:
        """Sample m as a network: its weights are the stored ones, its masks its own."""
        return Sample(self, m)


class Sample(nn.Module):
    """One sample of a network with dropout, (B, *input_shape) -> (B, K)."""

    def __init__(self, ensemble: Dropout, m: int) -> None:
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
    return masks.drop(inputs[0], draw.keys, number, draw.rate), *inputs[1:]


def _drop_output(draw: _Draw, number: int, layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return masks.drop(output, draw.keys, number, draw.rate)


def sites(network: nn.Module, input_shape: tuple[int, ...], site: str = "convolutions") -> list[str]:
    """Names of the layers that dropout sits before; with ``site="residual"``, after.

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
    inner = inner_layers(network, input_shape)
    if inner:
        return inner
    layers = [step.name for step in trace(network, input_shape).steps]
    convolutions = [name for name in layers if isinstance(network.get_submodule(name), nn.Conv2d)]
    found = convolutions[1:] or layers[1:]
    if not found:
        raise UserError(f"dropout sits between layers, and this {type(network).__name__} has only one.")
    return found


def dropout(
    backbone: Backbone,
    rate: float = 0.1,
    samples: int = 1,
    input_shape: tuple[int, ...] = (3, 32, 32),
    site: Literal["convolutions", "residual"] = "convolutions",
) -> Dropout:
    """Give a network dropout that stays on at test; (B, *input_shape) -> (samples, B, K).

    Args:
        backbone: a freshly initialised network, or a function that builds one.
        rate: share of the elements that are zeroed.
        samples: passes at test, the members; in training there is one.
        site: inside residual blocks before each of the ``convolutions`` but the first, as MIMO's text says; or
            ``residual``, once a block after the first convolution, as in its released code's residual mode.

    Raises:
        UserError: a setting out of its range, a network of one layer, or one without residual blocks where they are
            needed.
    """
    return Dropout(fresh(backbone, 1)[0], rate, samples, input_shape, site)
