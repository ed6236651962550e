"""What a study's rows look like beside one another."""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensembles.reports import style
from ensembles.studies.collection import Collection
from ensembles.studies.study import Curves, Study

BINS = 15  # of confidence, equally wide, as the ECE has them
LEAST = 0.002  # share of the images below which a bin's accuracy says little
COVERED = np.linspace(0.02, 1, 99)


class Figures:
    """The plots of a study, each a figure over all rows that have runs."""

    def __init__(self, study: Study, collection: Collection) -> None:
        self.study, self.collection = study, collection
        self.rows = [row for row in study.rows if collection.seeds(row)]

    def all(self) -> dict[str, Figure]:
        """Each figure by the name of its file."""
        with rc_context(style.RC):
            return {
                "accuracy_flops": self._points(
                    "cost/mult_adds", "multiply-adds of a prediction (G)", 1e-9, "test/acc", 100
                ),
                "nll_params": self._points("cost/params", "parameters (M)", 1e-6, "test/nll", 1),
                "reliability": self._lines(self._calibration, "confidence", "accuracy minus confidence"),
                "severity": self._lines(self._corrupted, "severity of corruption", "accuracy (%)"),
                "risk_coverage": self._lines(self._risk, "share of images answered", "errors among them (%)"),
                **{name: self._curves(curves) for name, curves in self.study.curves.items()},
            }

    def _points(self, cost: str, label: str, scale: float, key: str, times: float) -> Figure:
        figure = Figure(figsize=(7.2, 4.4))
        axes = figure.subplots()
        placed = []
        for i, row in enumerate(self.rows):
            found = self.collection.results(row)
            values = [times * results[key] for results in found]
            x, y = scale * found[0][cost], statistics.fmean(values)
            spread = statistics.stdev(values) if len(values) > 1 else 0
            axes.errorbar(x, y, yerr=spread, fmt="o", color=_colour(i), capsize=2)
            placed.append((x, y, self.study.rows[row].name, _colour(i)))
        style.logarithmic(axes)
        axes.margins(0.12, 0.08)
        _name(axes, placed)
        axes.set(xlabel=label, ylabel={"test/acc": "test accuracy (%)", "test/nll": "test NLL (nats)"}[key])
        return figure

    def _lines(self, points: Callable[[str], tuple[Sequence, Sequence]], x: str, y: str) -> Figure:
        figure = Figure(figsize=(7.2, 4.4))
        axes = figure.subplots()
        for i, row in enumerate(self.rows):
            dashes = style.DASHES[i // len(style.SERIES) % len(style.DASHES)]
            axes.plot(*points(row), color=_colour(i), linestyle=dashes, label=self.study.rows[row].name)
        axes.set(xlabel=x, ylabel=y)
        figure.legend(loc="outside right upper")
        return figure

    def _curves(self, curves: Curves) -> Figure:
        figure = Figure(figsize=(7.2, 3.6))
        panels = figure.subplots(1, 2)
        for i, (name, line) in enumerate(curves.lines.items()):
            there = {x: found for x, row in line.items() if (found := self.collection.results(row))}
            for axes, key, times in zip(panels, ("test/acc", "test/nll"), (100, 1), strict=True):
                values = [[times * results[key] for results in found] for found in there.values()]
                means = [statistics.fmean(of) for of in values]
                spread = [statistics.stdev(of) if len(of) > 1 else 0 for of in values]
                axes.errorbar(list(there), means, yerr=spread, marker="o", capsize=2, color=_colour(i), label=name)
        for axes, y in zip(panels, ("test accuracy (%)", "test NLL (nats)"), strict=True):
            axes.set(xlabel=curves.x, ylabel=y, xscale="log")
            axes.set_xticks(sorted({x for line in curves.lines.values() for x in line}))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves.lines))
        return figure

    def _calibration(self, row: str) -> tuple[Sequence, Sequence]:
        of = self.collection.images(row, self.collection.seeds(row))
        confidence, correct = of["confidence"].ravel(), of["correct"].ravel()
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        held = [b for b in range(BINS) if (bins == b).mean() >= LEAST]
        x = [confidence[bins == b].mean() for b in held]
        return x, [correct[bins == b].mean() - at for b, at in zip(held, x, strict=True)]

    def _corrupted(self, row: str) -> tuple[Sequence, Sequence]:
        accuracies = defaultdict(list)
        for results in self.collection.results(row):
            accuracies[0].append(results["test/acc"])
            for key, value in results.items():
                if cell := re.fullmatch(r"corrupted/\w+/(\d)/acc", key):
                    accuracies[int(cell[1])].append(value)
        severities = sorted(accuracies)
        return severities, [100 * statistics.fmean(accuracies[severity]) for severity in severities]

    def _risk(self, row: str) -> tuple[Sequence, Sequence]:
        of = self.collection.images(row, self.collection.seeds(row))
        order = np.argsort(-of["confidence"], axis=1, kind="stable")
        wrong = 1 - np.take_along_axis(of["correct"], order, axis=1)
        risk = (wrong.cumsum(1) / np.arange(1, wrong.shape[1] + 1)).mean(0)
        return COVERED, 100 * risk[(COVERED * len(risk)).astype(int) - 1]


def _colour(i: int) -> str:
    return style.SERIES[i % len(style.SERIES)]


def _name(axes: Axes, placed: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each name beside its point, moved up or down where it would cover another one."""
    low, high = axes.get_ylim()
    step, taken = (high - low) * 0.035, []
    for x, y, name, colour in sorted(placed, key=lambda one: -one[1]):
        at = y
        while any(abs(at - other) < step and abs(np.log(x / there)) < 0.9 for there, other in taken):
            at -= step / 2
        taken.append((x, at))
        axes.annotate(
            name,
            (x, y),
            xytext=(x * 1.05, at),
            va="center",
            fontsize=7,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4} if at != y else None,
        )
