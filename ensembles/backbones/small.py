"""Networks for small budgets: the two of MIMO (Havasi et al., 2021), and airbench's; settings as `fit` takes them."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from ensembles.backbones.fit import fit, note_initialisers, torch_default
from ensembles.backbones.trace import LAYERS
from ensembles.errors import UserError
from ensembles.limits import settings_of


@settings_of(fit)
def small_cnn(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    **settings,
) -> nn.Sequential:
    """Build MIMO's SmallCNN (section 3): three 3x3 convolutions, each halving the image; -> (B, num_classes).

    Raises:
        UserError: images of fewer than 8 pixels.
    """
    if image_size < 8:
        raise UserError(f"data.image_size is {image_size}, but small_cnn halves images three times: set it to 8 or up.")
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, 16, 3, padding=1),
            relu1=nn.ReLU(inplace=True),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(16, 32, 3, padding=1),
            relu2=nn.ReLU(inplace=True),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 32, 3, padding=1),
            relu3=nn.ReLU(inplace=True),
            pool3=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc=nn.Linear(32 * (image_size // 8) ** 2, num_classes),
        )
    )
    note_initialisers(network, dict.fromkeys(LAYERS, torch_default))
    return fit(network, num_classes, in_channels, image_size, **settings)


@settings_of(fit)
def mlp(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    **settings,
) -> nn.Sequential:
    """Build MIMO's MLP (section 2.1) of 32 and 128 units: (B, in_channels, image_size, image_size) -> (B, num_classes).

    With an image size of 1 it also takes plain vectors, (B, in_channels).
    """
    network = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(in_channels * image_size**2, 32),
            relu1=nn.ReLU(inplace=True),
            fc2=nn.Linear(32, 128),
            relu2=nn.ReLU(inplace=True),
            fc=nn.Linear(128, num_classes),
        )
    )
    note_initialisers(network, dict.fromkeys(LAYERS, torch_default))
    return fit(network, num_classes, in_channels, image_size, **settings)


@settings_of(fit)
def airbench(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    widths: Sequence[int] = (64, 256, 256),
    **settings,
) -> nn.Sequential:
    """Build airbench's network: three groups of two 3x3 convolutions, each pooled in between; -> (B, num_classes).

    It is that of Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU".

    With 64, 256 and 256 filters a 32x32 image costs 0.13 G multiply-adds. Of the published network this has neither the
    whitening first layer nor the fixed scale of the logits: a method replaces first and last layers by its own.

    Args:
        widths: filters of the three groups.

    Raises:
        UserError: images of fewer than 8 pixels, or widths that are not three positive integers.
    """
    if image_size < 8:
        raise UserError(f"data.image_size is {image_size}, but airbench halves images three times: set it to 8 or up.")
    if len(widths) != 3 or any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in widths):
        raise UserError(f"model.widths is {list(widths)}, but must be three integers of at least 1, as [64, 256, 256].")
    channels = (in_channels, *widths)
    groups = {f"layer{i + 1}": _group(channels[i], channels[i + 1]) for i in range(3)}
    network = nn.Sequential(
        OrderedDict(
            **groups,
            maxpool=nn.AdaptiveMaxPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(widths[-1], num_classes, bias=False),
        )
    )
    note_initialisers(network, dict.fromkeys(LAYERS, torch_default))
    return fit(network, num_classes, in_channels, image_size, **settings)


def _group(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            pool=nn.MaxPool2d(2),
            bn1=nn.BatchNorm2d(out_channels),
            gelu1=nn.GELU(),
            conv2=nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(out_channels),
            gelu2=nn.GELU(),
        )
    )
