"""The 15 standard corruptions of Hendrycks & Dietterich (ICLR 2019) and the 4 extra ones, at five severities.

Names and checks are torch-free; torch is imported when there are images to corrupt.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ensembles.data.corruptions.constants import EXTRA, SEVERITIES, STANDARD
from ensembles.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EXTRA", "SEVERITIES", "STANDARD", "corrupt", "require_known"]


def require_known(type: str, severity: int) -> None:
    """Raises UserError, with the near matches, unless this corruption exists."""
    if type not in STANDARD + EXTRA:
        near = get_close_matches(str(type), STANDARD + EXTRA, cutoff=0.5) or STANDARD + EXTRA
        raise UserError(f"There is no corruption {type!r}; did you mean {' or '.join(near)}?")
    if not isinstance(severity, int) or isinstance(severity, bool) or severity not in SEVERITIES:
        raise UserError(f"The severity of {type} is {severity!r}, but must be a whole number from 1 to 5.")


def corrupt(images: Tensor, type: str, severity: int, seed: int = 0, start: int = 0) -> Tensor:
    """Corrupt a batch of images.

    Each image has its own random numbers, which follow from the seed, the type, the severity and the image's index in
    its set (``start`` for the first of the batch): a set comes out the same in batches of any size.

    Args:
        images: uint8, shape (N, C, H, W) with C = 1 or 3, on any device, at least 8x8 pixels. Up to 64 pixels a side
            they get CIFAR-10-C's constants, above ImageNet-C's.
        type: one of STANDARD or EXTRA.
        severity: 1 to 5.

    Returns:
        uint8 images of the same shape, on the same device; fractions of grey levels are cut off, as in the release.

    Raises:
        UserError: unknown type or severity, images of another kind, frost's photographs not installed.

    Paper: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
    ICLR 2019, section 4.
    """
    require_known(type, severity)
    from ensembles.data.corruptions.apply import corrupt_with, table_for

    return corrupt_with(table_for(images), images, type, severity, seed, start)
