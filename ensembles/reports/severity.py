"""How accuracy and calibration fall with the severity of corruption."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ensembles.reports import style

FAMILIES = {
    "noise": (style.VERMILLION, "-", ("gaussian_noise", "shot_noise", "impulse_noise")),
    "blur": (style.BLUE, "--", ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")),
    "weather": (style.GREEN, "-.", ("snow", "frost", "fog", "brightness")),
    "digital": (style.ORANGE, ":", ("contrast", "elastic_transform", "pixelate", "jpeg_compression")),
}
LOOKS = {type: (color, dashes) for color, dashes, types in FAMILIES.values() for type in types}
PANELS = {"acc": ("accuracy (%)", 100), "ece": ("ECE", 1)}

Lines = dict[str, dict[int, float]]  # type -> severity -> value


def lines(results: Mapping[str, float], metric: str) -> Lines:
    """The metric of each standard type at each severity that the results have."""
    found: Lines = defaultdict(dict)
    for key, value in results.items():
        parts = key.split("/")
        if len(parts) == 4 and parts[0] == "corrupted" and parts[1] in LOOKS and parts[3] == metric:
            found[parts[1]][int(parts[2])] = value
    return {type: dict(sorted(values.items())) for type, values in found.items()}


def severity(results: Mapping[str, float]) -> Figure | None:
    """Accuracy and ECE against severity, 0 being the test set: each standard type, and their mean.

    None where the results have no standard type of corruption.
    """
    if not lines(results, "acc"):
        return None
    figure = Figure(figsize=(7.2, 3.2))
    for axes, (metric, (label, scale)) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        _panel(axes, lines(results, metric), results[f"test/{metric}"], scale)
        axes.set(xlabel="severity", ylabel=label)
        axes.set_ylim(bottom=0)
    shown = [family for family in FAMILIES if set(FAMILIES[family][2]) & lines(results, "acc").keys()]
    handles = [Line2D([], [], color=color, linestyle=dashes) for color, dashes, _ in (FAMILIES[f] for f in shown)]
    mean = Line2D([], [], color=style.BLACK, marker="o", linewidth=2)
    figure.legend([mean, *handles], ["mean over types", *shown], loc="outside upper center", ncols=5)
    return figure


def _panel(axes: Axes, types: Lines, clean: float, scale: float) -> None:
    severities = sorted({severity for values in types.values() for severity in values})
    for type, values in types.items():
        color, dashes = LOOKS[type]
        points = {0: clean} | values
        axes.plot(list(points), [scale * v for v in points.values()], color=color, linestyle=dashes, linewidth=0.9)
    mean = [clean, *(fmean(values[s] for values in types.values() if s in values) for s in severities)]
    axes.plot([0, *severities], [scale * v for v in mean], "o-", color=style.BLACK, linewidth=2, zorder=3)
    axes.set_xticks([0, *severities], ["test set", *map(str, severities)])
