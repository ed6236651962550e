"""What the corrupted copies of a test set say together (Hendrycks & Dietterich, 2019)."""

from collections.abc import Mapping
from statistics import fmean

# AlexNet's errors on ImageNet-C, means over the severities; its keys are the 15 standard types.
ALEXNET = {
    "gaussian_noise": 0.886,
    "shot_noise": 0.894,
    "impulse_noise": 0.923,
    "defocus_blur": 0.820,
    "glass_blur": 0.826,
    "motion_blur": 0.786,
    "zoom_blur": 0.798,
    "snow": 0.867,
    "frost": 0.827,
    "fog": 0.819,
    "brightness": 0.565,
    "contrast": 0.853,
    "elastic_transform": 0.646,
    "pixelate": 0.718,
    "jpeg_compression": 0.607,
}
CELLS = {(type, severity) for type in ALEXNET for severity in range(1, 6)}

Cells = Mapping[tuple[str, int], Mapping[str, float]]  # (type, severity) -> metric -> value


def overall(cells: Cells) -> dict[str, float]:
    """Means over cells, under flat keys.

    Returns:
        ``corrupted/<metric>`` over the standard types and ``corrupted_extra/<metric>`` over all others, each with
        ``cells``, the number of cells that there are: of the standard types 75, unless some were left out. Without
        cells of a kind there are no keys of it.
    """
    results = {}
    for prefix, standard in (("corrupted", True), ("corrupted_extra", False)):
        some = [values for (type, _), values in cells.items() if (type in ALEXNET) == standard]
        if some:
            results |= {f"{prefix}/{metric}": fmean(values[metric] for values in some) for metric in some[0]}
            results[f"{prefix}/cells"] = len(some)
    return results


def mean_corruption_error(cells: Cells) -> float | None:
    """mCE as a fraction: each type's error over AlexNet's, averaged over the 15 types; None unless all are there.

    AlexNet's errors are those on ImageNet, so it says something about networks for ImageNet's 1,000 classes only.
    """
    if not cells.keys() >= CELLS:
        return None
    errors = {type: fmean(1 - cells[type, severity]["acc"] for severity in range(1, 6)) for type in ALEXNET}
    return fmean(error / ALEXNET[type] for type, error in errors.items())
