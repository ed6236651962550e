"""The page over many runs: tables, figures, the trade-off between accuracy and speed, and each run's plots."""

import io
from collections.abc import Iterator, Sequence
from numbers import Real

import pandas as pd

from ensembles.reports.page import Shown, page
from ensembles.reports.paper_result import PaperResult
from ensembles.reports.runs_table import FinishedRun, differing, runs_table
from ensembles.reports.schema import column, mean
from ensembles.reports.terminal import short
from ensembles.reports.tradeoff import TradeoffPoint, tradeoff

COLUMNS = (
    *("test/acc", "test/mse", "test/nll", "test/ece", "test/brier", "members/acc", "diversity/disagreement"),
    *("corrupted/acc", "corrupted/nll", "corrupted/ece", "cost/params", "cost/mult_adds", "cost/images_per_second"),
)
SCATTERED = ("test/acc", "cost/images_per_second", "cost/params")


def overview(runs: Sequence[FinishedRun], papers: Sequence[PaperResult], claims: object = None) -> str:
    """Fill the page over runs, with the papers' claims, tables and figures before them.

    Args:
        claims: the ledger, as `ensembles.claims.ledger` has it.
    """
    tables = sum(paper.KIND == "table" for paper in papers)
    contents = f"{len(runs)} runs, {tables} tables and {len(papers) - tables} figures of papers."
    if not runs:
        return page("Ensembles", papers, contents=contents, claims=claims, runs=[])
    frame = runs_table(runs).assign(alike=[run.but_for_seed for run in runs])
    settings, keys = short(differing(runs)), [key for key in COLUMNS if key in frame and frame[key].notna().any()]
    return page(
        "Ensembles",
        papers,
        contents=contents,
        claims=claims,
        compared=_compared(frame, settings, keys),
        over_seeds=_over_seeds(frame, settings, keys),
        scatters=_scatters(frame),
        runs=[(run, _origin(run), _all_results(run)) for run in runs],
    )


def _compared(frame: pd.DataFrame, settings: dict[str, str], keys: Sequence[str]) -> tuple[list, list]:
    """Heads and rows of the table of runs."""
    shown = frame.reindex(columns=["run", "seed", *settings, *keys]).astype(object)
    rows = []
    for name, *values in shown.where(shown.notna(), None).itertuples(index=False, name=None):
        cells = [Shown("-" if values[0] is None else str(values[0]), values[0])]
        cells += [Shown("" if value is None else str(value), value) for value in values[1 : len(settings) + 1]]
        cells += [_cell(key, value) for key, value in zip(keys, values[len(settings) + 1 :], strict=True)]
        rows.append([Shown(name, name, link=name), *cells])
    return ["run", "seed", *settings.values(), *(column(key).head() for key in keys)], rows


def _cell(key: str, value: object) -> Shown:
    """A result as its column shows it; what is no number is shown as it stands."""
    number = _as_number(value)
    if number is None and value is not None:
        return Shown(str(value))
    return Shown(column(key).show(number), number)


def _as_number(value: object) -> float | None:
    """The number, of a list of numbers their mean; None for all else."""
    numbers = value if isinstance(value, list) and value else [value]
    return mean(numbers) if all(isinstance(one, Real) for one in numbers) else None


def _over_seeds(frame: pd.DataFrame, settings: dict[str, str], keys: Sequence[str]) -> tuple[list, list] | None:
    """Heads and rows of the table of means, where there are runs that differ in their seed alone."""
    numbers = frame[[*keys]].map(_as_number).astype(float)
    rows = []
    for _, some in frame.groupby("alike", sort=False):
        if len(some) > 1:
            first, of = some.iloc[0], numbers.loc[some.index]
            cells = [Shown(f"{first['data']}, {first['method']}", first["run"], link=first["run"])]
            cells += [Shown(str(len(some)), len(some)), *(Shown(str(first[key]), first[key]) for key in settings)]
            for key in keys:
                mean_of, std = (None if pd.isna(value) else value for value in (of[key].mean(), of[key].std()))
                show = column(key).show
                cells.append(Shown(f"{show(mean_of)} ± {show(std)}" if std else show(mean_of), mean_of))
            rows.append(cells)
    return (["runs", "seeds", *settings.values(), *(column(key).head() for key in keys)], rows) if rows else None


def _scatters(frame: pd.DataFrame) -> Iterator[tuple[bytes, str]]:
    """A picture for each data set; runs that differ in their seed alone are one point, their mean."""
    numbers = frame.reindex(columns=SCATTERED).map(_as_number).astype(float)
    shown = frame[numbers.notna().all(axis=1) & (numbers["cost/images_per_second"] > 0)]
    for data, of_data in shown.groupby("data", sort=False):
        points = []
        for _, some in of_data.groupby("alike", sort=False):
            M = some.iloc[0].get("method.M", pd.NA)
            label = "" if pd.isna(M) else f"M = {M}"
            points.append(TradeoffPoint(some.iloc[0]["method"], label, *numbers.loc[some.index].mean()))
        file = io.BytesIO()
        tradeoff(points).savefig(file, format="png", dpi=150)
        caption = f"{data}: accuracy against inference speed; the area of a point is the number of parameters."
        yield file.getvalue(), caption


def _origin(run: FinishedRun) -> list[str]:
    """Where the run comes from, in lines."""
    said = [f"{key}: {run.provenance[key]}" for key in ("command", "commit", "hardware") if run.provenance.get(key)]
    seconds = run.provenance.get("seconds")
    return said + [f"{name}: {value} s" for name, value in (seconds if isinstance(seconds, dict) else {}).items()]


def _all_results(run: FinishedRun) -> list[list[Shown]]:
    return [
        [Shown(key, key), Shown(_number(value), value if isinstance(value, int | float) else None)]
        for key, value in run.results.items()
    ]


def _number(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
