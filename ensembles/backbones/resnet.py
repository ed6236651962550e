"""ResNets (He et al., 2016): torchvision's, with a stem for small images; the last settings as `fit` takes them."""

from torch import nn
from torchvision import models

from ensembles.backbones.fit import fit
from ensembles.backbones.initialise import he_by_outputs, tell, torch_default


def resnet18(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    ghost_batch: int | None = None,
    init: str | None = None,
    redraw: str = "initialiser",
) -> nn.Module:
    """ResNet-18, (B, in_channels, image_size, image_size) -> (B, num_classes); 11,173,962 parameters on CIFAR-10."""
    network = models.resnet18(num_classes=num_classes)
    _renew_stem(network, in_channels, image_size)
    return fit(network, num_classes, in_channels, image_size, width, ghost_batch, init, redraw)


def resnet34(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    ghost_batch: int | None = None,
    init: str | None = None,
    redraw: str = "initialiser",
) -> nn.Module:
    """ResNet-34, (B, in_channels, image_size, image_size) -> (B, num_classes)."""
    network = models.resnet34(num_classes=num_classes)
    _renew_stem(network, in_channels, image_size)
    return fit(network, num_classes, in_channels, image_size, width, ghost_batch, init, redraw)


def resnet50(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    ghost_batch: int | None = None,
    init: str | None = None,
    redraw: str = "initialiser",
) -> nn.Module:
    """ResNet-50, (B, in_channels, image_size, image_size) -> (B, num_classes); 23,520,842 parameters on CIFAR-10.

    Packed-Ensembles' "ResNet-50x4" is ``width=4``.
    """
    network = models.resnet50(num_classes=num_classes)
    _renew_stem(network, in_channels, image_size)
    return fit(network, num_classes, in_channels, image_size, width, ghost_batch, init, redraw)


def _renew_stem(network: models.ResNet, in_channels: int, image_size: int) -> None:
    """For images of up to 64 pixels a 3x3 stem of stride 1 without max-pooling, as on CIFAR; else torchvision's 7x7."""
    small = image_size <= 64
    kernel, stride = (3, 1) if small else (7, 2)
    network.conv1 = nn.Conv2d(in_channels, 64, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if small:
        network.maxpool = nn.Identity()
    tell(network, {nn.Conv2d: he_by_outputs, nn.Linear: torch_default})
