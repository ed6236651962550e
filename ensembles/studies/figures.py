"""What a study's rows look like beside one another."""

import statistics

from matplotlib import rc_context
from matplotlib.figure import Figure

from ensembles.reports import style
from ensembles.reports.comparison import Compared, against_cost, reliability, risk_coverage, severity
from ensembles.studies.collection import Collection
from ensembles.studies.study import Curves, Study


def figures(study: Study, collection: Collection) -> dict[str, Figure]:
    """Each plot over all rows that have runs, by the name of its file."""
    rows = [
        Compared(about.name, collection.results(row), [collection.per_image(row, seed) for seed in seeds])
        for row, about in study.rows.items()
        if (seeds := collection.seeds(row))
    ]
    found = {
        "accuracy_flops": against_cost(rows, "cost/mult_adds", "test/acc"),
        "nll_params": against_cost(rows, "cost/params", "test/nll"),
        "reliability": reliability(rows),
        "severity": severity(rows),
        "risk_coverage": risk_coverage(rows),
        **{name: _curves(curves, collection) for name, curves in study.curves.items()},
    }
    return {name: figure for name, figure in found.items() if figure}


def _curves(curves: Curves, collection: Collection) -> Figure:
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 3.6))
        panels = figure.subplots(1, 2)
        for i, (name, line) in enumerate(curves.lines.items()):
            there = {x: found for x, row in line.items() if (found := collection.results(row))}
            colour = style.SERIES[i % len(style.SERIES)]
            for axes, key, times in zip(panels, ("test/acc", "test/nll"), (100, 1), strict=True):
                values = [[times * results[key] for results in found] for found in there.values()]
                means = [statistics.fmean(of) for of in values]
                spread = [statistics.stdev(of) if len(of) > 1 else 0 for of in values]
                axes.errorbar(list(there), means, yerr=spread, marker="o", capsize=2, color=colour, label=name)
        for axes, y in zip(panels, ("test accuracy (%)", "test NLL (nats)"), strict=True):
            axes.set(xlabel=curves.x, ylabel=y, xscale="log")
            axes.set_xticks(sorted({x for line in curves.lines.values() for x in line}))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves.lines))
    return figure
