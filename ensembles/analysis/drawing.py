"""What a figure is drawn from, and what comes of it. Torch is not imported here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from matplotlib.figure import Figure

from ensembles.papers.fill import results
from ensembles.papers.tables import Row
from ensembles.runs import Run


@dataclass(frozen=True)
class Line:
    """A row of a figure's entry, with the runs of it that are finished.

    Attributes:
        row: what was asked for; ``row.at`` has its place in the figure, head -> value.
        runs: one for each seed that has results, in the seeds' order.
    """

    row: Row
    runs: tuple[Run, ...]

    @cached_property
    def results(self) -> list[Mapping]:
        """The runs' results, in their order; also of a run that was evaluated on more sets than were asked for."""
        return [results(run) for run in self.runs]


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        data: what it shows, the rows of a CSV: mappings with the same keys.
        findings: what was measured, in plain sentences.
    """

    figure: Figure
    data: list[dict]
    findings: list[str]
