"""What every builder does last: see that the network suits its images, and bring it to its width.

A layer tells its initialiser (`initialise`, `note_initialisers`), so that it can be drawn anew at another size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ensembles.backbones.ghost import ghost
from ensembles.backbones.resize import resize
from ensembles.backbones.trace import LAYERS, MISFITS, on_meta
from ensembles.errors import UserError, reason
from ensembles.limits import require

Initialiser = Callable[[nn.Conv2d | nn.Linear], None]

# Image sizes to name in the error where the asked one is too small.
SIZES = (8, 16, 32, 64, 96, 128, 160, 224, 256, 299, 384)


def fit(
    network: nn.Module,
    num_classes: int,
    in_channels: int,
    image_size: int,
    width: float = 1.0,
    ghost_batch: int | None = None,
    init: str | None = None,
    redraw: str = "initialiser",
) -> nn.Module:
    """Bring the network to ``width`` times its hidden widths, and check it on (B, in_channels, image_size, image_size).

    Args:
        ghost_batch: examples over which batch norms take their statistics in training; None for the whole batch.
        init: how convolutions and linear layers start: ``torch``, PyTorch's default, or ``he``; None as they do.
        redraw: how a layer of another size starts: by its ``initialiser``, where that is known, or as a ``bootstrap``
            of the original's numbers.

    Raises:
        UserError: the network cannot take such images, does not give (B, num_classes), cannot be resized, or has no
            batch norm for ghost batches.
    """
    input_shape = (in_channels, image_size, image_size)
    require("model.", init=init, redraw=redraw)
    check(network, input_shape, num_classes)
    if init is not None:
        initialise(network, dict.fromkeys(LAYERS, INITIALISERS[init]))
    if redraw == "bootstrap":
        note_initialisers(network, dict.fromkeys(LAYERS))
    network = resize(network, width, input_shape)
    return network if ghost_batch is None else ghost(network, ghost_batch)


def check(network: nn.Module, input_shape: tuple[int, ...], num_classes: int) -> None:
    """See by a training pass on the meta device that ``network`` maps (B, *input_shape) to (B, num_classes).

    Raises:
        UserError: it does not; the sentence names ``data.image_size`` and a larger size that works, if any.
    """
    shadow = on_meta(network).train()
    try:
        logits = _run(shadow, input_shape)
    except MISFITS as error:
        inputs = "x".join(map(str, input_shape))
        size = _size_that_works(shadow, input_shape)
        why, cure = ("", f"set it to {size}") if size else (f" ({reason(error)})", "change it")
        raise UserError(
            f"data.image_size: the model cannot take inputs of {inputs}{why}; {cure} or choose another model."
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        given = ("B", *logits.shape[1:]) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"The model gives {given}, not logits (B, {num_classes}): choose one that gives a logit for each class."
        )


def _run(shadow: nn.Module, input_shape: tuple[int, ...]) -> object:
    with torch.no_grad():
        return shadow(torch.empty(2, *input_shape, device="meta"))


def _size_that_works(shadow: nn.Module, input_shape: tuple[int, ...]) -> int | None:
    for size in SIZES:
        if size > input_shape[-1]:
            try:
                _run(shadow, (input_shape[0], size, size))
            except MISFITS:
                continue
            return size
    return None


def torch_default(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's own default."""
    layer.reset_parameters()


def he(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw the weight from N(0, 2 / fan_in) (He et al., 2015); the bias is zero."""
    _normal(layer, "fan_in")


def he_by_outputs(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw the weight from N(0, 2 / fan_out), as in torchvision's ResNets; the bias is zero."""
    _normal(layer, "fan_out")


def _normal(layer: nn.Conv2d | nn.Linear, mode: str) -> None:
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


# What ``model.init`` can name.
INITIALISERS = {"torch": torch_default, "he": he}


def initialise(network: nn.Module, kinds: dict[type, Initialiser]) -> None:
    """Draw the layers of each kind by its initialiser, which they tell from then on."""
    note_initialisers(network, kinds)
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            layer.initialiser(layer)


def note_initialisers(network: nn.Module, kinds: dict[type, Initialiser | None]) -> None:
    """Note by which initialiser the layers of each kind have been drawn; None takes the note away."""
    for layer in network.modules():
        for kind, initialiser in kinds.items():
            if isinstance(layer, kind):
                layer.initialiser = initialiser


def note_pretrained(network: nn.Module) -> None:
    """Note that the layers' numbers are pretrained, for methods to keep them."""
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            layer.pretrained = True
