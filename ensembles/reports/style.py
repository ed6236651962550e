"""One look for all plots: colours that colour-blind readers tell apart (Okabe & Ito, 2008), legible in print."""

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

BLACK = "#000000"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
GREY = "#8A8A8A"

SERIES = (VERMILLION, GREEN, ORANGE, PURPLE, BLUE, BLACK)
DASHES = ("-", "--", "-.", ":")  # so that lines differ without colour too

WIDTH = 4.4  # inches of every plot of a run or over runs: its text can still be read on a phone

RC = {
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "text.parse_math": False,  # names of classes and sets may hold dollar signs
}


def colour(i: int) -> str:
    """Choose the i-th colour, the first again after the last."""
    return SERIES[i % len(SERIES)]


def look(i: int) -> dict[str, str]:
    """Choose the i-th line's colour and dashes."""
    return {"color": colour(i), "linestyle": DASHES[i % len(DASHES)]}


def logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic, after what it shows is drawn; with plain numbers and never too many."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = (
        (1000, LogLocator(numticks=8)),
        (10, LogLocator(subs=(1, 2, 5))),
        (3, LogLocator(subs=(1, 1.5, 2, 3, 5, 7))),
    )
    axes.xaxis.set_major_locator(next((locator for ratio, locator in decades if high > ratio * low), MaxNLocator(5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
