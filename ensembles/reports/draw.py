"""The plots of a run's folder, of whatever its results were reduced from."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from pathlib import Path

from ensembles.metrics import RegressionSummary, Summary
from ensembles.reports import plots, regression


@singledispatch
def draw(summary: Summary, folder: Path, results: Mapping, history: Path, class_names: Sequence[str]) -> None:
    """Write the plots of a run.

    Args:
        results: the run's flat results.
        history: the run's metrics.csv, where there is one.

    Raises:
        UserError: a folder that cannot be written to.
    """
    ood = {name: -scores["max_probability"] for name, scores in summary.ood_scores.items() if name != "test"}
    ood = {name.removeprefix("ood/"): sure for name, sure in ood.items()}
    plots.draw(folder, results, summary.test, ood, history=history, class_names=class_names)


@draw.register
def _(summary: RegressionSummary, folder: Path, results: Mapping, history: Path, class_names: Sequence[str]) -> None:
    regression.draw(folder, summary, history)
