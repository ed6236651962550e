"""The photographs of frost."""

import math
from functools import cache
from importlib import resources

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.io import ImageReadMode, decode_image

from ensembles.data.corruptions.colour import grey
from ensembles.errors import UserError


def frost_crops(shape: torch.Size, scale: float, where: Tensor) -> Tensor:
    """Pieces of the photographs, in [0, 1], of an image batch's shape (N, C, H, W).

    ``where`` (N, 3), in [0, 1), picks a photograph and the piece's place in it; ``scale`` shrinks the photographs, but
    not so far that the piece would no longer fit.

    Raises:
        UserError: the package with the photographs is missing.
    """
    _, channels, height, width = shape
    photographs = _scaled(scale, height, width)
    crops = []
    for which, y, x in where.tolist():
        photograph = photographs[int(which * len(photographs))]
        top, left = int(y * (photograph.shape[1] - height)), int(x * (photograph.shape[2] - width))
        crops.append(photograph[:, top : top + height, left : left + width])
    crops = torch.stack(crops)
    return grey(crops) if channels == 1 else crops


@cache
def _scaled(scale: float, height: int, width: int) -> list[Tensor]:
    out = []
    for photograph in _photographs():
        fitting = max(scale, height / photograph.shape[1], width / photograph.shape[2])
        if fitting != 1:
            size = [math.ceil(round(side * fitting, 6)) for side in photograph.shape[1:]]
            photograph = functional.interpolate(photograph[None], size=size, mode="bilinear")[0].round()
        out.append(photograph / 255)
    return out


@cache
def _photographs() -> list[Tensor]:
    """The five, with levels from 0 to 255, each (3, H, W)."""
    try:
        folder = resources.files("torch_uncertainty_assets.frost")
    except ModuleNotFoundError as error:
        raise UserError(
            "The corruption frost needs the photographs in the package torch-uncertainty-assets: "
            "pip install torch-uncertainty-assets."
        ) from error
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".jpg")), key=lambda f: f.name)
    return [
        decode_image(torch.frombuffer(bytearray(f.read_bytes()), dtype=torch.uint8), ImageReadMode.RGB).float()
        for f in files
    ]
