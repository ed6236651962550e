"""A figure drawn from the runs of its rows."""

import io
import textwrap
import time
from collections.abc import Sequence

from hydra.utils import instantiate
from matplotlib import rc_context
from matplotlib.figure import Figure

from ensembles.analysis.series import Drawing, FigureRow
from ensembles.errors import UserError
from ensembles.papers import Table
from ensembles.provenance import origin
from ensembles.reports import style
from ensembles.reports.paper_result import FULL, FigureResult, scale_mark
from ensembles.reproduction.running import Planned

LETTERS = 17  # of the stand-ins' line, in an inch


def draw_figure(table: Table, planned: Sequence[Planned]) -> FigureResult:
    """Draw the figure with all results that there are, or nothing where too few rows are finished.

    Raises:
        UserError: of the function that draws it, from all rows.
    """
    found = [entry.results() for entry in planned]
    lines = []
    for entry, of_runs in zip(planned, found, strict=True):
        runs = tuple(run for run, one in zip(entry.runs, of_runs, strict=True) if one is not None)
        lines.append(FigureRow(entry.row.name, entry.row.at, runs))
    states = [entry.status(of_runs) for entry, of_runs in zip(planned, found, strict=True)]
    started = time.perf_counter()
    try:
        drawing, findings = _drawn(table, [line for line in lines if line.runs]), []
    except UserError as error:
        if all(state == "done" for state in states):
            raise
        drawing, findings = None, [str(error)]
    return FigureResult(
        **table.about,
        shows=table.shows,
        note=table.note or "",
        printed=list((table.drawing or {}).get("printed", ())),
        findings=list(drawing.findings) if drawing else findings,
        data=drawing.data if drawing else [],
        pictures={kind: _saved(drawing.figure, table, kind) for kind in ("png", "pdf")} if drawing else {},
        lines=[
            {
                "names": list(entry.row.names),
                "cited": table.cites,
                "status": state,
                "overrides": entry.arguments,
                "runs": entry.records(of_runs),
            }
            for entry, of_runs, state in zip(planned, found, states, strict=True)
        ],
        provenance=origin({"drawing": time.perf_counter() - started}),
    )


def _drawn(table: Table, lines: Sequence[FigureRow]) -> Drawing | None:
    if table.rows and not lines:
        return None
    with rc_context(style.RC):
        return instantiate({**table.drawing, "_partial_": True}, _convert_="all")(lines)


def _saved(figure: Figure, table: Table, kind: str) -> bytes:
    """Save a picture as bytes; at a smaller scale with a line that says so."""
    if table.scale != FULL:
        says = f"{scale_mark(table.scale)}: {'; '.join(table.substitutions)}"
        lines = textwrap.fill(says, int(LETTERS * figure.get_figwidth()))
        figure.text(0.01, 0, f"\n{lines}", va="top", fontsize=7, color=style.GREY)
    file = io.BytesIO()
    with rc_context(style.RC):
        figure.savefig(file, format=kind, bbox_inches="tight", pad_inches=0.08)
    return file.getvalue()
