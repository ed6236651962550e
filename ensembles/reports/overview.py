"""The page over many runs: tables, figures, the trade-off between accuracy and speed, and each run's plots."""

import io
from collections.abc import Callable, Sequence
from html import escape

from ensembles.reports import figure_sheet, paper_table, telling
from ensembles.reports.comparison import short
from ensembles.reports.figure_sheet import FigureSheet
from ensembles.reports.gathered import Found
from ensembles.reports.numbers import count, decimal, mean, percent, three_digits
from ensembles.reports.page import Html, page, picture, sortable
from ensembles.reports.sheet import Sheet
from ensembles.reports.tradeoff import Point, tradeoff

COLUMNS: dict[str, tuple[str, Callable]] = {
    "test/acc": ("accuracy %", percent),
    "test/mse": ("MSE", three_digits),
    "test/nll": ("NLL", decimal),
    "test/ece": ("ECE", decimal),
    "test/brier": ("Brier", decimal),
    "members/acc": ("members %", lambda values: percent(mean(values))),
    "diversity/disagreement": ("disagreement %", percent),
    "corrupted/acc": ("corrupted %", percent),
    "corrupted/nll": ("corrupted NLL", decimal),
    "corrupted/ece": ("corrupted ECE", decimal),
    "cost/params": ("parameters", count),
    "cost/mult_adds": ("multiply-adds", count),
    "cost/images_per_second": ("images/s", count),
}
COST = ("cost/images_per_second", "cost/params")


def overview(runs: Sequence[Found], sheets: Sequence[Sheet], figures: Sequence[FigureSheet] = ()) -> str:
    """The whole page."""
    counted = f"{len(runs)} runs, {len(sheets)} tables and {len(figures)} figures of papers."
    body = ["<h1>Ensembles: what was measured</h1>", f"<p>{counted}</p>", _contents(runs, [*sheets, *figures])]
    body += [_anchored(sheet, paper_table.html(sheet)) for sheet in sheets]
    body += [_anchored(sheet, figure_sheet.html(sheet)) for sheet in figures]
    if runs:
        body += ['<section id="runs"><h2>Runs</h2>', _comparison(runs), _scatter(runs), "</section>"]
        body += ["<section><h2>Each run</h2>", *map(_details, runs), "</section>"]
    return page("Ensembles", body)


def _contents(runs: Sequence[Found], shown: Sequence[Sheet | FigureSheet]) -> str:
    entries = [(_place(sheet), f"{sheet.name}: {sheet.full_title}") for sheet in shown]
    entries += [("runs", "Runs")] if runs else []
    items = "".join(f'<li><a href="#{escape(place)}">{escape(text)}</a></li>' for place, text in entries)
    return f"<nav><ul>{items}</ul></nav>"


def _place(sheet: Sheet | FigureSheet) -> str:
    return f"{sheet.name}-{sheet.scale}"


def _anchored(sheet: Sheet | FigureSheet, html: str) -> str:
    return f'<div id="{escape(_place(sheet))}">{html}</div>'


def _comparison(runs: Sequence[Found]) -> str:
    filled = {key: column for key, column in COLUMNS.items() if any(run.results.get(key) is not None for run in runs)}
    apart = short(telling.differing(runs))
    rows = []
    for run in runs:
        link = Html(f'<a href="#{escape(run.name)}">{escape(run.name)}</a>')
        cells = [(link, run.name), _seed(run)]
        settings = telling.flattened(telling.settings(run))
        cells += [(str(settings.get(key, "")), settings.get(key)) for key in apart]
        for key, (_, show) in filled.items():
            cells.append(_cell(run.results.get(key), show))
        rows.append(cells)
    return sortable(["run", "seed", *apart.values(), *(head for head, _ in filled.values())], rows)


def _cell(value: object, show: Callable) -> tuple[str, object]:
    """A result as its column shows it; what is no number is shown as it stands."""
    try:
        return show(value), mean(value) if isinstance(value, list) else value
    except (TypeError, ValueError):
        return str(value), None


def _seed(run: Found) -> tuple[str, object]:
    seed = run.provenance.get("seed")
    return ("-" if seed is None else str(seed), seed)


def _scatter(runs: Sequence[Found]) -> str:
    """A scatter for each data set; runs that differ in their seed alone are one point, their mean."""
    alike: dict[str, dict[str, list[Found]]] = {}
    for run in runs:
        if all(isinstance(run.results.get(key), int | float) for key in ("test/acc", *COST)) and run.results[COST[0]]:
            of_data = alike.setdefault(telling.data(run), {})
            of_data.setdefault(telling.but_for_seed(run), []).append(run)
    pictures = []
    for data, groups in alike.items():
        file = io.BytesIO()
        tradeoff([_point(some) for some in groups.values()]).savefig(file, format="png", dpi=150)
        caption = f"{data}: accuracy against inference speed; the area of a point is the number of parameters."
        pictures.append(picture(file.getvalue(), caption))
    return f'<div class="plots">{"".join(pictures)}</div>'


def _point(some: Sequence[Found]) -> Point:
    settings = telling.settings(some[0]).get("method", {})
    method = telling.stem(some[0]).rpartition("-")[2]
    numbers = [mean([run.results[key] for run in some]) for key in ("test/acc", *COST)]
    return Point(method, f"M = {settings['M']}" if "M" in settings else "", *numbers)


def _details(run: Found) -> str:
    plots = "".join(picture(path, path.stem) for path in run.plots)
    about = [f"{key}: {run.provenance[key]}" for key in ("command", "commit", "hardware") if run.provenance.get(key)]
    seconds = run.provenance.get("seconds")
    seconds = seconds if isinstance(seconds, dict) else {}
    about += [f"{name}: {value} s" for name, value in seconds.items()]
    lines = "".join(f"<div>{escape(line)}</div>" for line in about)
    config = f"<details><summary>Configuration</summary><pre>{escape(run.config)}</pre></details>" if run.config else ""
    return (
        f'<article id="{escape(run.name)}"><h3>{escape(run.name)}</h3><div class="note">{lines}</div>'
        f'<div class="plots">{plots}</div>{config}'
        f"<details><summary>All results</summary>{_all_results(run)}</details></article>"
    )


def _all_results(run: Found) -> str:
    rows = [
        [(key, key), (_number(value), value if isinstance(value, int | float) else None)]
        for key, value in run.results.items()
    ]
    return sortable(["result", "value"], rows)


def _number(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
