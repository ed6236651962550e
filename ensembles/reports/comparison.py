"""Plots that compare methods: each has one name and colour in all of them."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter
from matplotlib.transforms import Bbox

from ensembles.reports import style
from ensembles.reports.schema import number, quantity, scaled
from ensembles.reports.severity import by_severity

BINS = 15  # of confidence, equally wide, as the ECE has them
LEAST = 30  # images below which a bin's accuracy says little
COVERED = np.linspace(0.02, 1, 99)
LONGEST = 44  # characters of a name in a legend
AWAY = (5, 13, 23, 35, 49)  # points between a point and its name: the first is preferred
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.7), (-0.8, 0.7), (0.8, -0.7), (-0.8, -0.7))

Curve = tuple[Sequence[float], Sequence[float]]  # x and y


class Compared(NamedTuple):
    """A method, or any runs that differ in their seed alone.

    Attributes:
        results: flat, of each seed.
        per_image: what each seed's run says of the test images, as `ensembles.reports.per_image` has it, where that is
            known.
    """

    name: str
    results: Sequence[Mapping]
    per_image: Sequence[Mapping[str, np.ndarray]] = ()

    def values(self, value: Callable[[Mapping], float | None]) -> list[float]:
        """List the seeds' numbers, where they are numbers."""
        found = [value(results) for results in self.results]
        return [number for number in found if number is not None and math.isfinite(number)]


class Place(NamedTuple):
    """A point with a name.

    Attributes:
        spread: half its bar, as y is measured.
        radius: points.
    """

    x: float
    y: float
    spread: float
    name: str
    colour: str
    radius: float = 2


def against_cost(compared: Sequence[Compared], cost: str, key: str) -> Figure | None:
    """Draw a result against a cost, both by their keys, on a logarithmic axis; None for fewer than two methods."""
    of = quantity(cost)
    return _points(
        compared,
        lambda results: found if (found := number(results, cost) or 0) > 0 else None,  # else there is no logarithm
        lambda results: scaled(results, key),
        (of.full or of.label, f"test {quantity(key).axis}"),
        logarithmic=True,
    )


def diversity(compared: Sequence[Compared]) -> Figure | None:
    """Draw what averaging the members gains, against how often two disagree; None for fewer than two methods."""

    def gain(results: Mapping) -> float | None:
        ensemble, members = (scaled(results, key) for key in ("test/acc", "members/acc"))
        return None if ensemble is None or members is None else ensemble - members

    labels = ("two members disagree on (% of images)", "accuracy gained over a member (points)")
    return _points(compared, lambda results: scaled(results, "diversity/disagreement"), gain, labels)


def _points(
    compared: Sequence[Compared],
    x: Callable[[Mapping], float | None],
    y: Callable[[Mapping], float | None],
    labels: tuple[str, str],
    logarithmic: bool = False,
) -> Figure | None:
    """Draw a point for each, its mean over seeds, with its name; a bar is one standard deviation up and down.

    The first have a colour each, which is also their lines', and the others are grey.
    """
    places = []
    for i, one in enumerate(compared):
        xs, ys = one.values(x), one.values(y)
        if xs and ys:
            spread = statistics.stdev(ys) if len(ys) > 1 else 0
            colour = style.SERIES[i] if i < len(style.SERIES) else style.GREY
            places.append(Place(statistics.fmean(xs), statistics.fmean(ys), spread, one.name, colour))
    if len(places) < 2:
        return None
    with rc_context(style.RC):
        figure = Figure(figsize=(style.WIDTH, max(3.4, 0.45 * len(places))))
        axes = figure.subplots()
        for place in places:
            axes.errorbar(place.x, place.y, yerr=place.spread or None, fmt="o", color=place.colour, capsize=2)
        axes.margins(0.15, 0.12)
        if logarithmic:
            style.logarithmic(axes)
            axes.xaxis.set_major_formatter(EngFormatter())
        axes.set(xlabel=labels[0], ylabel=labels[1])
        name_points(axes, places)
    return figure


def name_points(axes: Axes, places: Iterable[Place]) -> None:
    """Write each name near its point, where it covers no other name or point as far as there is room."""
    places, figure = sorted(places, key=lambda place: -place.y), axes.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what has been laid out stays where it is
    unit = figure.dpi / 72
    frame = axes.get_window_extent()
    taken = []
    for place in places:
        ends = axes.transData.transform([(place.x, place.y + sign * place.spread) for sign in (-1, 1)])
        taken.append(Bbox(ends).padded((1 + place.radius) * unit))
    for place in places:
        text = axes.annotate(
            place.name,
            (place.x, place.y),
            xytext=(0, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": place.colour, "linewidth": 0.5, "shrinkB": place.radius + 1},
        )
        size = Text.get_window_extent(text).size
        found = []
        for away in (place.radius + further for further in AWAY):
            for across, up in SIDES:
                offset = away * np.array([across, up])
                corner = axes.transData.transform(place[:2]) + unit * offset - size * [(1 - np.sign(across)) / 2, 0.5]
                box = Bbox.from_bounds(*corner, *size)
                inside = Bbox.intersection(box, frame)
                outside = _area(box) - (_area(inside) if inside else 0)
                covered = sum(_area(both) for other in taken if (both := Bbox.intersection(box, other)))
                found.append((covered + 4 * outside, away, offset, box))
        _, away, offset, box = min(found, key=lambda one: one[:2])
        has_line = away > place.radius + AWAY[0]
        taken += [box, *(_along(axes.transData.transform(place[:2]), unit * offset) if has_line else ())]
        text.set_position(offset)
        text.set_horizontalalignment(("right", "center", "left")[1 + int(np.sign(offset[0]))])
        text.arrow_patch.set_visible(has_line)


def _along(start: np.ndarray, way: np.ndarray) -> list[Bbox]:
    """Cover a line from a point, in pixels, by boxes of six."""
    return [Bbox.from_bounds(*(start + share * way - 3), 6, 6) for share in np.linspace(0, 1, 20)]


def _area(box: Bbox) -> float:
    return max(box.width, 0) * max(box.height, 0)


def reliability(compared: Sequence[Compared]) -> Figure | None:
    """Draw accuracy minus confidence in each bin of confidence that holds enough images, of all seeds together.

    Of a method with one such bin a line over the bin's width is drawn, as a lone dot looks like a mistake.
    """
    alone = []  # methods with one bin

    def points(one: Compared) -> Curve:
        confidence, correct = (np.concatenate([of[key] for of in one.per_image]) for key in ("confidence", "correct"))
        count, sure, right = (
            np.histogram(confidence, BINS, (0, 1), weights=of)[0] for of in (None, confidence, correct)
        )
        held = np.flatnonzero(count >= LEAST)
        x = sure[held] / count[held]
        y = right[held] / count[held] - x
        if len(held) != 1:
            return x, y
        alone.append(one.name)
        return [held[0] / BINS, (held[0] + 1) / BINS], [*y, *y]

    figure = _lines(compared, points, "confidence", "accuracy minus confidence", needs_images=True, marker="o")
    if figure:
        figure.axes[0].axhline(0, color=style.BLACK, linewidth=0.8, zorder=1)
        if alone:
            figure.axes[0].set_xlabel("confidence (where a method has one bin: the bin's width)")
    return figure


def risk_coverage(compared: Sequence[Compared]) -> Figure | None:
    """Draw the error rate among the surest images against how many are answered, the mean over seeds.

    Of images of equal confidence each counts as their mean, so that the file's order does not matter.
    """

    def points(one: Compared) -> Curve:
        risks = []
        for of in one.per_image:
            _, tied = np.unique(-of["confidence"], return_inverse=True)
            wrong = (np.bincount(tied, 1 - of["correct"]) / np.bincount(tied))[np.sort(tied)]
            risk = wrong.cumsum() / np.arange(1, len(wrong) + 1)
            risks.append(risk[np.maximum((COVERED * len(risk)).astype(int), 1) - 1])
        return 100 * COVERED, 100 * np.mean(risks, axis=0)

    return _lines(compared, points, "images answered, the surest first (%)", "errors among them (%)", True)


def severity(compared: Sequence[Compared]) -> Figure | None:
    """Draw accuracy against severity of corruption, 0 being the test set: the mean over seeds and standard types."""

    def points(one: Compared) -> Curve:
        found = defaultdict(list)
        for results in one.results:
            for values in ({0: results.get("test/acc")}, *by_severity(results, "acc").values()):
                for at, value in values.items():
                    if value is not None:
                        found[at].append(quantity("acc").scale * value)
        severities = sorted(found) if len(found) > 1 else []
        return severities, [statistics.fmean(found[at]) for at in severities]

    figure = _lines(compared, points, "severity of corruption (0: test set)", "accuracy (%)", marker="o")
    if figure:
        figure.axes[0].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _lines(
    compared: Sequence[Compared],
    points: Callable[[Compared], Curve],
    x: str,
    y: str,
    needs_images: bool = False,
    marker: str | None = None,
) -> Figure | None:
    """Draw a line for each that has points; None where there is no line."""
    with rc_context(style.RC):
        figure = Figure()
        axes = figure.subplots()
        for i, one in enumerate(compared):
            xs, ys = points(one) if one.per_image or not needs_images else ((), ())
            if len(xs):
                dashes = style.DASHES[i // len(style.SERIES) % len(style.DASHES)]
                name = one.name if len(one.name) <= LONGEST else one.name[: LONGEST - 1] + "…"
                axes.plot(xs, ys, color=style.colour(i), linestyle=dashes, marker=marker, markersize=3, label=name)
        if not axes.lines:
            return None
        axes.set(xlabel=x, ylabel=y)
        columns = 2 if max(len(line.get_label()) for line in axes.lines) <= LONGEST // 2 else 1
        figure.legend(loc="outside lower center", ncols=columns, fontsize=8)
        figure.set_size_inches(style.WIDTH, 3.2 + 0.17 * -(-len(axes.lines) // columns))
    return figure
