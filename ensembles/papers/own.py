"""A table in a setting of the user's own: overrides that change what its rows compute. Torch is not imported here."""

from collections.abc import Sequence
from dataclasses import replace

from ensembles.papers.plan import Planned, plan
from ensembles.papers.tables import Table
from ensembles.reports.entry import FULL, OWN
from ensembles.runs import Run, decides


def own(table: Table, planned: Sequence[Planned], arguments: Sequence[str]) -> Table:
    """The table, which says so where the overrides that its runs are planned with change what they compute."""
    deciding = [word for word in arguments if decides(word.partition("=")[0].lstrip("+"))]
    if not deciding or not any(_changed(table, entry) for entry in planned):
        return table
    return replace(
        table,
        scale=OWN if table.scale == FULL else f"{table.scale}-{OWN}",
        stands=(*table.stands, f"{', '.join(deciding)} for the rows' own settings"),
        # the printed numbers are of the paper's setting
        drawing=table.drawing and {key: value for key, value in table.drawing.items() if key != "printed"},
    )


def _changed(table: Table, entry: Planned) -> bool:
    (without,) = plan(replace(table, rows=(entry.row,)), 1)
    return _computed(without.runs[0]) != _computed(entry.runs[0])


def _computed(run: Run) -> tuple:
    """What is trained and how it is evaluated, whether or not the predictions are kept."""
    evaluation = run.evaluation
    return run.folder.name, {**evaluation, "evaluation": {**evaluation["evaluation"], "save_predictions": None}}
