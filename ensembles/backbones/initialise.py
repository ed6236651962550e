"""How layers' numbers start: a layer tells its initialiser, so that it can be drawn anew at another size."""

from collections.abc import Callable

from torch import nn

from ensembles.backbones.trace import LAYERS

Layer = nn.Conv2d | nn.Linear


def torch_default(layer: Layer) -> None:
    """Draw weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's own default."""
    layer.reset_parameters()


def he(layer: Layer) -> None:
    """Draw the weight from N(0, 2 / fan_in) (He et al., 2015); the bias is zero."""
    _normal(layer, "fan_in")


def he_by_outputs(layer: Layer) -> None:
    """Draw the weight from N(0, 2 / fan_out), as in torchvision's ResNets; the bias is zero."""
    _normal(layer, "fan_out")


def _normal(layer: Layer, mode: str) -> None:
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


# What ``model.init`` can name.
INITIALISERS = {"torch": torch_default, "he": he}


def initialise(network: nn.Module, initialiser: Callable[[Layer], None]) -> None:
    """Draw all convolutions and linear layers by one initialiser, which they tell from then on."""
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            initialiser(layer)
            layer.initialiser = initialiser


def tell(network: nn.Module, kinds: dict[type, Callable[[Layer], None] | None]) -> None:
    """Note by which initialiser the layers of each kind have been drawn; None takes the note away."""
    for layer in network.modules():
        for kind, initialiser in kinds.items():
            if isinstance(layer, kind):
                layer.initialiser = initialiser
