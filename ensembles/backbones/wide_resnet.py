"""Wide ResNets (Zagoruyko & Komodakis, 2016) as MIMO and Mixture train them, and as Packed-Ensembles does."""

from collections import OrderedDict

from torch import Tensor, nn

from ensembles.backbones.fit import fit
from ensembles.errors import UserError


class PreActBlock(nn.Module):
    """Norm, ReLU, convolution, twice, added to the input: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, late_stride: bool, conv_bias: bool) -> None:
        super().__init__()
        stride1, stride2 = (1, stride) if late_stride else (stride, 1)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride1, padding=1, bias=conv_bias)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride2, padding=1, bias=conv_bias)
        self.relu = nn.ReLU(inplace=True)
        self.projection: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.relu(self.bn1(x)))
        out = self.conv2(self.relu(self.bn2(out)))
        return out + self.projection(x)


def wrn(
    depth: int,
    widen_factor: int,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    late_stride: bool = False,
    conv_bias: bool = False,
    ghost_batch: int | None = None,
) -> nn.Sequential:
    """WRN-depth-widen_factor, (B, in_channels, image_size, image_size) -> (B, num_classes).

    The default is MIMO's: WRN-28-10 has 36,479,194 parameters and 5.24 G multiply-adds on CIFAR-10. The code of
    Packed-Ensembles has ``late_stride`` (5.95 G). In its Table 1 the single network has ``conv_bias`` as well
    (36,489,290 parameters); the packed one has not (M = 4, alpha = gamma = 2: 19,352,008 parameters and 4.06 G).

    Args:
        depth: 6n + 4 layers, n blocks in each of three groups.
        widen_factor: the groups have 16, 32 and 64 times as many channels, the stem 16.
        width: factor on every hidden width, the stem's too.
        late_stride: a block that halves the image does so in its second convolution, not in its first.
        conv_bias: convolutions have biases.
        ghost_batch: examples over which batch norms take their statistics in training; None for the whole batch.

    Raises:
        UserError: a depth that is not 6n + 4, or a widen_factor that is no positive integer.
    """
    if not isinstance(depth, int) or depth < 10 or (depth - 4) % 6:
        raise UserError(f"model.depth is {depth!r}, but must be 6n + 4, such as 10, 16, 22 or 28.")
    if not isinstance(widen_factor, int) or widen_factor < 1:
        raise UserError(f"model.widen_factor is {widen_factor!r}, but must be an integer of at least 1.")

    def group(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        first = PreActBlock(in_channels, out_channels, stride, late_stride, conv_bias)
        rest = [PreActBlock(out_channels, out_channels, 1, late_stride, conv_bias) for _ in range((depth - 4) // 6 - 1)]
        return nn.Sequential(first, *rest)

    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, 16, 3, padding=1, bias=conv_bias),
            layer1=group(16, 16 * widen_factor, 1),
            layer2=group(16 * widen_factor, 32 * widen_factor, 2),
            layer3=group(32 * widen_factor, 64 * widen_factor, 2),
            bn=nn.BatchNorm2d(64 * widen_factor),
            relu=nn.ReLU(inplace=True),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64 * widen_factor, num_classes),
        )
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return fit(network, num_classes, in_channels, image_size, width, ghost_batch)
