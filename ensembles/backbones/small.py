"""The two small networks of MIMO (Havasi et al., 2021); settings as `fit` takes them."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from ensembles.backbones.fit import fit, note_initialisers, torch_default
from ensembles.backbones.trace import LAYERS
from ensembles.errors import UserError
from ensembles.limits import require, settings_of


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
    hidden: Sequence[int] = (32, 128),
    **settings,
) -> nn.Sequential:
    """Build MIMO's MLP (section 2.1) of 32 and 128 units: (B, in_channels, image_size, image_size) -> (B, num_classes).

    With an image size of 1 it also takes plain vectors, (B, in_channels).

    Args:
        hidden: units of each hidden layer.

    Raises:
        UserError: no layer, or one without units.
    """
    require("model.", hidden=hidden)
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    before = in_channels * image_size**2
    for i, units in enumerate(hidden, 1):
        layers |= {f"fc{i}": nn.Linear(before, units), f"relu{i}": nn.ReLU(inplace=True)}
        before = units
    network = nn.Sequential(OrderedDict(layers, fc=nn.Linear(before, num_classes)))
    note_initialisers(network, dict.fromkeys(LAYERS, torch_default))
    return fit(network, num_classes, in_channels, image_size, **settings)
