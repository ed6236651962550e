"""The network of airbench (Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU"), for small budgets."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ensembles.backbones.fit import fit, initialise, torch_default
from ensembles.errors import UserError
from ensembles.limits import settings_of

# Brightness, red against blue, green against both: nearly uncorrelated in photographs.
COLOURS = ((1, 1, 1), (1, 0, -1), (1, -2, 1))
# Variances in CIFAR-10's training images, normalised by channel, of the mean of 2x2 pixels, their differences in x and
# in y, and the difference of differences; of each colour, and where there are no three, of a channel.
VARIANCES = ((10.0, 0.33, 0.39, 0.055), (0.83, 0.0144, 0.017, 0.00167), (0.188, 0.0045, 0.005, 0.00063))
OF_A_CHANNEL = (3.35, 0.11, 0.13, 0.018)
FLOOR = 5e-4  # added to a variance, as airbench has it: what is all but constant stays small


@settings_of(fit)
def airbench(
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    widths: Sequence[int] = (64, 256, 256),
    whiten: bool = True,
    scale: float = 1 / 9,
    **settings,
) -> nn.Sequential:
    """Build three groups of two 3x3 convolutions, each pooled in between; -> (B, num_classes).

    With 64, 256 and 256 filters a 32x32 image costs 0.13 G multiply-adds.

    Args:
        widths: filters of the three groups.
        whiten: whether the first convolution sees whitened patches of 2x2 pixels; see `Whitening`.
        scale: of the logits, so that the last layer, too, can take a large learning rate.

    Raises:
        UserError: images of fewer than 9 pixels (8 without whitening), or widths that are not three positive integers.
    """
    least = 9 if whiten else 8
    if image_size < least:
        raise UserError(
            f"data.image_size is {image_size}, but airbench halves images three times: set it to {least} or up."
        )
    if len(widths) != 3 or any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in widths):
        raise UserError(f"model.widths is {list(widths)}, but must be three integers of at least 1, as [64, 256, 256].")
    stem = OrderedDict(whitening=Whitening(in_channels)) if whiten else OrderedDict()
    channels = (8 * in_channels if whiten else in_channels, *widths)
    groups = {f"layer{i + 1}": _group(channels[i], channels[i + 1]) for i in range(3)}
    network = nn.Sequential(
        OrderedDict(
            **stem,
            **groups,
            maxpool=nn.AdaptiveMaxPool2d(1),
            flatten=nn.Flatten(),
            scale=Scale(scale),
            fc=nn.Linear(widths[-1], num_classes, bias=False),
        )
    )
    initialise(network, {nn.Conv2d: identity_start, nn.Linear: torch_default})
    return fit(network, num_classes, in_channels, image_size, **settings)


def _group(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            pool=nn.MaxPool2d(2),
            bn1=_norm(out_channels),
            gelu1=nn.GELU(),
            conv2=nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            bn2=_norm(out_channels),
            gelu2=nn.GELU(),
        )
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    """A batch norm whose scale stays 1: only its biases are trained, by a large rate (``recipe.norms_lr``)."""
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def identity_start(layer: nn.Conv2d) -> None:
    """Draw a convolution as PyTorch does, but let its first filters pass the inputs on, as many as there are.

    Filters that are fewer than inputs pass on some of these, evenly spaced, so that of MIMO's images none is left out.
    """
    torch_default(layer)
    outputs, inputs, *size = layer.weight.shape
    filters = outputs // layer.groups
    passed = torch.arange(min(filters, inputs), device="cpu") * max(filters, inputs) // filters
    identity = torch.zeros(len(passed), inputs, *size, device="cpu")
    identity[:, :, size[0] // 2, size[1] // 2] = F.one_hot(passed, inputs).float()
    with torch.no_grad():
        layer.weight.unflatten(0, (layer.groups, filters))[:, : len(passed)] = identity


class Whitening(nn.Module):
    """Nearly decorrelate patches of 2x2 pixels and bring them to unit variance: (B, C, H, W) -> (B, 8 C, H - 1, W - 1).

    It stands for airbench's first layer, whose filters are the eigenvectors of the training images' own patches, and is
    the same for all members and methods: nothing of it is trained. Both signs of a filter go through a GELU. Images
    that stand side by side in the channels (MIMO's) are whitened apart.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        rows = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        patches = torch.stack([torch.outer(y, x) for y in rows for x in rows]) / 2  # Haar's, orthonormal
        colours = F.normalize(torch.tensor(COLOURS, dtype=torch.float)) if in_channels == 3 else torch.eye(in_channels)
        variances = torch.tensor(VARIANCES if in_channels == 3 else [OF_A_CHANNEL] * in_channels)
        filters = torch.einsum("kc,fij->kfcij", colours, patches) / (variances + FLOOR).sqrt()[..., None, None, None]
        filters = filters.flatten(0, 1)
        self.in_channels = in_channels
        self.register_buffer("filters", torch.cat([filters, -filters]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        images = x.unflatten(1, (-1, self.in_channels)).flatten(0, 1)
        return F.gelu(F.conv2d(images, self.filters)).unflatten(0, (len(x), -1)).flatten(1, 2)


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x
