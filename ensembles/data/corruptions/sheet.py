"""A contact sheet: one image under every corruption, as one PNG."""

from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from ensembles.data.corruptions import EXTRA, SEVERITIES, STANDARD, corrupt


def sheet(image: Tensor, path: str | Path, seed: int = 0) -> None:
    """Write the sheet to ``path``: a row for each type, the clean image and then the five severities from the left.

    Args:
        image: uint8, shape (C, H, W); it is image 0 of its set for the random numbers.

    Raises:
        UserError: as :func:`ensembles.data.corruptions.corrupt`.
    """
    types = STANDARD + EXTRA
    figure = Figure(figsize=(1.15 * (len(SEVERITIES) + 2), 1.15 * len(types)), layout="constrained")
    axes = figure.subplots(len(types), len(SEVERITIES) + 1)
    for row, name in zip(axes, types, strict=True):
        cells = [image, *(corrupt(image[None], name, severity, seed)[0] for severity in SEVERITIES)]
        for axis, cell in zip(row, cells, strict=True):
            pixels = cell.cpu().movedim(0, -1).squeeze(-1).numpy()
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center")
    for axis, title in zip(axes[0], ("clean", *SEVERITIES), strict=True):
        axis.set_title(title)
    figure.savefig(path, dpi=150)
