"""The page over many runs: the answer for each data set and network, what it looks like, and each run."""

import math
import os
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from ensembles.reports import comparison
from ensembles.reports.comparison import Compared
from ensembles.reports.page import Shown, page, svg
from ensembles.reports.paper_result import PaperResult
from ensembles.reports.per_image import PER_IMAGE, images_file, load_per_image
from ensembles.reports.runs_table import FinishedRun, differing
from ensembles.reports.schema import ARROWS, MISSING, best_shown, column, finite, mean, quantity
from ensembles.reports.sweep_table import short

ANSWER = {  # what a table of methods shows, in parts
    "test set": ("test/acc", "test/rmse", "test/mse", "test/nll", "test/ece"),
    "corrupted": ("corrupted/acc", "corrupted/nll", "corrupted/ece"),
    "out of distribution": (),  # of each set that there is
    "members": ("members/acc", "diversity/disagreement", "diversity/variance"),
    "cost": ("cost/params", "cost/mult_adds", "cost/images_per_second"),
}
COLUMNS = (  # of the table of all runs
    *("test/acc", "test/rmse", "test/mse", "test/nll", "test/ece", "test/brier", "members/acc"),
    *("diversity/disagreement", "corrupted/acc", "corrupted/nll", "corrupted/ece"),
    *("cost/params", "cost/mult_adds", "cost/images_per_second"),
)
JUDGED = ("test set", "corrupted", "out of distribution")  # whose best is bold
CELL = re.compile(r"corrupted/\w+/\d/\w+")
DETECTED = re.compile(r"ood/(.+)/max_probability/auroc")
CAPTIONS = {  # of a run's plots whose file's name does not say it
    "ood_roc": "out-of-distribution images found",
    "risk_coverage": "risk and coverage",
    "severity": "corruption by severity",
    "members": "number of members",
    "temperature": "temperature scaling",
    "curves": "training",
}
LINES = 12  # more than this cannot be told apart in a plot


class SeedGroup(NamedTuple):
    """Runs that differ in their seed alone."""

    name: str
    runs: Sequence[FinishedRun]

    def values(self, key: str) -> list[float]:
        """List the seeds' numbers, where there are some."""
        return [run.numbers[key] for run in self.runs if key in run.numbers]


class Group(NamedTuple):
    """What can be compared: the runs on a data set with a network.

    Attributes:
        parts: heads over the table's heads, with the number of columns below each.
        ordered: how the first column of numbers is sorted.
        plots: each with its caption.
        runs: each with its row's name.
    """

    data: str
    title: str
    anchor: str
    said: str
    parts: Sequence[tuple[str, int]]
    heads: Sequence[str]
    rows: Sequence[Sequence[Shown]]
    ordered: str
    plots: Sequence[tuple[Markup, str]]
    runs: Sequence[tuple[FinishedRun, str]]


def overview(runs: Sequence[FinishedRun], papers: Sequence[PaperResult], claims: object = None) -> str:
    """Fill the page over runs, with the papers' claims, tables and figures after them.

    Args:
        claims: the ledger, as `ensembles.claims.ledger` has it.
    """
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault((run.data, run.model), []).append(run)
    shown = [_group(i, _data_name(data, [*groups]), some) for i, ((data, _), some) in enumerate(groups.items())]
    keys = [key for key in COLUMNS if any(run.results.get(key) is not None for run in runs)]
    counts = [(len(runs), "run")]
    counts += [(sum(kind == paper.KIND for paper in papers), f"paper {kind}") for kind in ("table", "figure")]
    counted = [f"{number} {what}{'s' * (number != 1)}" for number, what in counts if number]
    return page(
        "Ensembles",
        papers,
        contents=", ".join(counted) + ".",
        claims=claims,
        groups=shown,
        compared=_compared(shown, keys),
        origin=_origin,
        all_results=_all_results,
        captions=CAPTIONS,
    )


def _data_name(data: str, keys: Sequence[tuple[str, str]]) -> str:
    """Name the data set, with its folder only where that tells it apart."""
    name = data.partition(" (")[0]
    if len({other for other, _ in keys if other.partition(" (")[0] == name}) == 1:
        return re.sub(r" \(\)$", "", re.sub(r"root=[^,)]*(, )?", "", data))
    return data


def _group(number: int, data: str, runs: Sequence[FinishedRun]) -> Group:
    alike: dict[str, list[FinishedRun]] = {}
    for run in runs:
        alike.setdefault(run.but_for_seed, []).append(run)
    keys = [*_keys(runs)]
    first = keys[0][1] if keys else ""
    sign = -1 if column(first).better == "higher" else 1
    rows = [SeedGroup(name, some) for name, some in zip(_names([*alike.values()]), alike.values(), strict=True)]
    rows.sort(key=lambda row: math.inf if (center := mean(row.values(first))) is None else sign * center)
    about_plots, plots = _plots(rows)
    recipes = {str(run.provenance.get("recipe") or "") for run in runs}
    said = ["Mean ± standard deviation over seeds."] if len(runs) > len(rows) else []
    said += ["The best of a column is bold, ↑ where higher is better, ↓ where lower is."] if len(rows) > 1 else []
    said += [f"Recipe {recipe}." for recipe in recipes if recipe and len(recipes) == 1]
    parts = [part for part, _ in keys]
    return Group(
        data=data,
        title=f"{data}, {runs[0].model}" if runs[0].model else data,
        anchor=f"group-{number + 1}",
        said=" ".join([*said, about_plots]).strip(),
        parts=[("", 2), *((part, parts.count(part)) for part in dict.fromkeys(parts))],
        heads=["method", "seeds", *(_head(part, key) for part, key in keys)],
        rows=_rows(rows, keys),
        ordered="descending" if sign < 0 else "ascending",
        plots=plots,
        runs=[(run, row.name) for row in rows for run in sorted(row.runs, key=_seed)],
    )


def _seed(run: FinishedRun) -> tuple[float, str]:
    """Order runs by their seeds, 10 after 9; what is no number comes last."""
    seed = run.provenance.get("seed")
    number = finite(seed)
    return math.inf if number is None else number, str(seed)


def _keys(runs: Sequence[FinishedRun]) -> Iterator[tuple[str, str]]:
    """List the results that a table of the runs shows, each with its part of the table."""
    known = dict.fromkeys(key for run in runs for key in run.numbers)
    for part, keys in ANSWER.items():
        for key in keys or [key for key in known if DETECTED.fullmatch(key)]:
            if key in known and not (key == "test/mse" and "test/rmse" in known):  # its square
                yield part, key


def _head(part: str, key: str) -> str:
    of_set, of = DETECTED.fullmatch(key), quantity(key)
    if part in JUDGED:
        return f"{of_set[1] + ' ' if of_set else ''}{of.head()}{ARROWS[of.better]}"
    return of.head(brief=True)


def _names(alike: Sequence[Sequence[FinishedRun]]) -> list[str]:
    """Name each row by its method, and where there are several of its kind by the settings in which they differ."""
    firsts = [some[0] for some in alike]
    found = []
    for run in firsts:
        kin = [other for other in firsts if other.method == run.method]
        keys = differing(kin) if len(kin) > 1 else []
        told = [f"{head}={run.computed[key]}" for key, head in short(keys).items() if run.computed.get(key) is not None]
        found.append(", ".join([run.method, *told]))
    # where what tells them apart is not known the run's name does
    return [run.name if found.count(name) > 1 else name for run, name in zip(firsts, found, strict=True)]


def _rows(rows: Sequence[SeedGroup], keys: Sequence[tuple[str, str]]) -> list[list[Shown]]:
    best = {
        key: best_shown(quantity(key), (mean(row.values(key)) for row in rows)) for part, key in keys if part in JUDGED
    }
    found = []
    for row in rows:
        cells = [Shown(row.name, row.name, link=row.runs[0].name), Shown(str(len(row.runs)), len(row.runs))]
        for part, key in keys:
            values, show = row.values(key), quantity(key).show
            center = mean(values)
            spread = show(statistics.stdev(values)) if len(values) > 1 and part != "cost" else ""
            text = show(center)
            cells.append(Shown(text, center, spread=spread, best=text == best.get(key)))
        found.append(cells)
    return found


def _plots(rows: Sequence[SeedGroup]) -> tuple[str, list[tuple[Markup, str]]]:
    """Draw the plots that compare the rows, and say what is to be said of them."""
    compared = [Compared(row.name, [run.numbers for run in row.runs], [*_per_image(row)]) for row in rows]
    some = compared[:LINES]
    images = sorted({len(of["correct"]) for one in compared for of in one.per_image})
    drawn: list[tuple[Figure | None, str]] = [
        (comparison.against_cost(compared, "cost/mult_adds", "test/acc"), "Accuracy against the cost of a prediction"),
        (comparison.against_cost(compared, "cost/mult_adds", "test/mse"), "Error against the cost of a prediction"),
        (comparison.reliability(some), "Reliability: above the line too cautious, below it too sure"),
        (comparison.risk_coverage(some), "Risk and coverage: errors where unsure images are left out"),
        (comparison.severity(some), "Corrupted images: the mean over types, by severity"),
        (comparison.diversity(compared), "Diversity: what averaging the members gains"),
    ]
    said = [f"{' or '.join(map(str, images))} test images."] if images else []
    if len(compared) > LINES:
        said.append(f"Plots of lines show the first {LINES} of the table.")
    if "test/acc" in {key for one in compared for results in one.results for key in results}:
        without = sum(len(one.results) - len(one.per_image) for one in compared)
        if without:
            said.append(
                f"{without} of {sum(len(one.results) for one in compared)} runs have no {PER_IMAGE}, which reliability "
                "and risk are drawn from: a run that is evaluated again has it."
            )
    return " ".join(said), [(svg(figure), caption) for figure, caption in drawn if figure]


def _per_image(row: SeedGroup) -> Iterator[dict]:
    for run in row.runs:
        collected = run.provenance.get("row")
        seed = run.provenance.get("seed")
        path = images_file(run.folder.parent, collected, seed) if collected else run.folder / PER_IMAGE
        if os.path.isfile(path):  # whatever stands for row and seed
            yield load_per_image(path)


def _compared(groups: Sequence[Group], keys: Sequence[str]) -> tuple[list, list]:
    """Make heads and rows of the table of all runs."""
    rows = []
    for group in groups:
        for run, name in group.runs:
            seed = run.provenance.get("seed")
            words = [Shown(name, name, link=run.name), Shown(group.data, group.data), Shown(run.model, run.model)]
            words.append(Shown(MISSING if seed is None else str(seed), seed))
            rows.append([*words, *(_cell(key, run.results.get(key)) for key in keys)])
    return ["method", "data", "network", "seed", *(column(key).head() for key in keys)], rows


def _cell(key: str, value: object) -> Shown:
    """Show a result as its column does; what is no number is shown as it stands."""
    number = finite(value)
    if number is None and value is not None:
        return Shown(str(value))
    return Shown(column(key).show(number), number)


def _origin(run: FinishedRun) -> list[str]:
    """Say where the run comes from, in lines."""
    said = [f"{key}: {run.provenance[key]}" for key in ("command", "commit", "hardware") if run.provenance.get(key)]
    seconds = run.provenance.get("seconds")
    return said + [f"{name}: {value} s" for name, value in (seconds if isinstance(seconds, dict) else {}).items()]


def _all_results(run: FinishedRun) -> list[tuple[str, str]]:
    """List a run's results but for those of single corruptions, of which there are hundreds."""
    return [(key, _six_digits(value)) for key, value in run.results.items() if not CELL.fullmatch(key)]


def _six_digits(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_six_digits, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
