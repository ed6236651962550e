"""ResNets, torchvision's with a stem for small images, and Wide ResNets; settings as `fit` takes them.

ResNets are of He et al., 2016; Wide ResNets of Zagoruyko & Komodakis, 2016, as MIMO and Mixture train them, and as
Packed-Ensembles does.
"""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torchvision import models

from ensembles.backbones.fit import fit, he, he_by_outputs, initialise, note_initialisers, torch_default
from ensembles.backbones.trace import LAYERS
from ensembles.errors import UserError
from ensembles.limits import settings_of


@settings_of(fit)
def resnet18(num_classes: int, in_channels: int = 3, image_size: int = 32, **settings) -> nn.Module:
    """Build ResNet-18, (B, in_channels, size, size) -> (B, num_classes); 11,173,962 parameters on CIFAR-10."""
    return _resnet(models.resnet18, num_classes, in_channels, image_size, **settings)


@settings_of(fit)
def resnet34(num_classes: int, in_channels: int = 3, image_size: int = 32, **settings) -> nn.Module:
    """Build ResNet-34, (B, in_channels, image_size, image_size) -> (B, num_classes)."""
    return _resnet(models.resnet34, num_classes, in_channels, image_size, **settings)


@settings_of(fit)
def resnet50(num_classes: int, in_channels: int = 3, image_size: int = 32, **settings) -> nn.Module:
    """Build ResNet-50, (B, in_channels, image_size, image_size) -> (B, num_classes); 23,520,842 parameters on CIFAR-10.

    Packed-Ensembles' "ResNet-50x4" is ``width=4``.
    """
    return _resnet(models.resnet50, num_classes, in_channels, image_size, **settings)


def _resnet(
    constructor: Callable[..., models.ResNet], num_classes: int, in_channels: int, image_size: int, **settings
) -> nn.Module:
    """Build a ResNet; up to 64 pixels get a 3x3 stem of stride 1 without max-pooling, as on CIFAR, others the 7x7."""
    network = constructor(num_classes=num_classes)
    small = image_size <= 64
    kernel, stride = (3, 1) if small else (7, 2)
    network.conv1 = nn.Conv2d(in_channels, 64, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if small:
        network.maxpool = nn.Identity()
    note_initialisers(network, {nn.Conv2d: he_by_outputs, nn.Linear: torch_default})
    return fit(network, num_classes, in_channels, image_size, **settings)


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut: (B, C, H, W) -> (B, C', H / stride, W / stride).

    With ``preactivation`` norm and ReLU come before each convolution, else after it, the last ones after the sum.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        late_stride: bool,
        conv_bias: bool,
        preactivation: bool,
    ) -> None:
        super().__init__()
        self.preactivation = preactivation
        stride1, stride2 = (1, stride) if late_stride else (stride, 1)
        self.bn1 = nn.BatchNorm2d(in_channels if preactivation else out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride1, padding=1, bias=conv_bias)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride2, padding=1, bias=conv_bias)
        self.relu = nn.ReLU(inplace=True)
        self.projection: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.preactivation:
            out = self.conv1(self.relu(self.bn1(x)))
            out = self.conv2(self.relu(self.bn2(out)))
            return out + self.projection(x)
        out = self.conv2(self.relu(self.bn1(self.conv1(x))))
        return self.relu(self.bn2(out + self.projection(x)))


@settings_of(fit)
def wrn(
    depth: int,
    widen_factor: int,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    late_stride: bool = False,
    conv_bias: bool = False,
    preactivation: bool = True,
    **settings,
) -> nn.Sequential:
    """Build WRN-depth-widen_factor, (B, in_channels, image_size, image_size) -> (B, num_classes).

    The default is MIMO's: WRN-28-10 has 36,479,194 parameters and 5.24 G multiply-adds on CIFAR-10. The code of
    Packed-Ensembles has ``late_stride`` (5.95 G) and no ``preactivation``. In its Table 1 the single network has
    ``conv_bias`` as well (36,489,290 parameters); the packed one has not (M = 4, alpha = gamma = 2: 19,352,008
    parameters and 4.06 G).

    Args:
        depth: 6n + 4 layers, n blocks in each of three groups.
        widen_factor: the groups have 16, 32 and 64 times as many channels, the stem 16.
        late_stride: a block that halves the image does so in its second convolution, not in its first.
        conv_bias: convolutions have biases.
        preactivation: norm and ReLU come before a convolution, and the sum is passed on as it is; else they come after
            it, the stem's too, and after the sum. Both have as many parameters.

    Raises:
        UserError: a depth that is not 6n + 4, or a widen_factor that is no positive integer.
    """
    if not isinstance(depth, int) or depth < 10 or (depth - 4) % 6:
        raise UserError(f"model.depth is {depth!r}, but must be 6n + 4, such as 10, 16, 22 or 28.")
    if not isinstance(widen_factor, int) or widen_factor < 1:
        raise UserError(f"model.widen_factor is {widen_factor!r}, but must be an integer of at least 1.")

    def group(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        common = late_stride, conv_bias, preactivation
        first = Block(in_channels, out_channels, stride, *common)
        rest = [Block(out_channels, out_channels, 1, *common) for _ in range((depth - 4) // 6 - 1)]
        return nn.Sequential(first, *rest)

    stem = {"conv1": nn.Conv2d(in_channels, 16, 3, padding=1, bias=conv_bias)}
    groups = {
        "layer1": group(16, 16 * widen_factor, 1),
        "layer2": group(16 * widen_factor, 32 * widen_factor, 2),
        "layer3": group(32 * widen_factor, 64 * widen_factor, 2),
    }
    activation = {"bn": nn.BatchNorm2d(64 * widen_factor if preactivation else 16), "relu": nn.ReLU(inplace=True)}
    network = nn.Sequential(
        OrderedDict(
            **(stem | groups | activation if preactivation else stem | activation | groups),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64 * widen_factor, num_classes),
        )
    )
    initialise(network, dict.fromkeys(LAYERS, he))
    return fit(network, num_classes, in_channels, image_size, **settings)
