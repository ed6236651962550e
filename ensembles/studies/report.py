"""What a study's runs show: its tables, a row a method, its comparisons and its plots. Torch is not imported here."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console

from ensembles.files import replacing, write_text
from ensembles.reports import style
from ensembles.reports.comparison import Compared, against_cost, reliability, risk_coverage, severity
from ensembles.reports.overview import DETECTED
from ensembles.reports.schema import MISSING, count, quantity, scaled
from ensembles.studies.bootstrap import difference, holm, mean
from ensembles.studies.collection import Collection, read_search
from ensembles.studies.study import Curves, Study


class StudyColumn(NamedTuple):
    """A column over runs.

    Attributes:
        head: what stands above it; its unit too.
        key: of the results.
        digits: after the point.
        judged: whether the best is bold.
    """

    head: str
    key: str
    digits: int
    judged: bool = True

    def text(self, value: float) -> str:
        return f"{value:.{self.digits}f}"


QUALITY = (
    StudyColumn("acc %", "test/acc", 2),
    StudyColumn("NLL", "test/nll", 4),
    StudyColumn("ECE", "test/ece", 4),
    StudyColumn("corrupted acc %", "corrupted/acc", 2),
    StudyColumn("corrupted NLL", "corrupted/nll", 4),
    StudyColumn("corrupted ECE", "corrupted/ece", 4),
    StudyColumn("members' acc %", "members/acc", 2, judged=False),
    StudyColumn("disagreement %", "diversity/disagreement", 2),
)
DETECTION = ("auroc", "aupr", "fpr95")
FIRST_SETS = ("svhn", "digits", "photos")  # out of distribution, whose columns come before other sets'
FURTHER = (
    StudyColumn("Brier", "test/brier", 4),
    StudyColumn("AURC", "test/aurc", 4),
    StudyColumn("corrupted Brier", "corrupted/brier", 4),
    StudyColumn("corrupted AURC", "corrupted/aurc", 4),
    StudyColumn("corrupted members' acc %", "corrupted/members_acc", 2, judged=False),
    StudyColumn("corrupted disagreement %", "corrupted/disagreement", 2),
)
IMAGES = {"accuracy": (QUALITY[0], "correct", 100), "NLL": (QUALITY[1], "log_likelihood", -1)}  # means over images
LEGEND = """\
Means ± standard deviations over seeds, and in bold the best of the rows with two seeds or more. NLL: negative
log-likelihood, nats; ECE: calibration error over 15 bins; AURC: area under the curve of risk against coverage;
disagreement: images on which two members predict different classes; in brackets, costs in the single network's.
Corrupted: the mean over 15 corruptions at five severities. Images out of distribution are told by the largest
probability; they are the positives of AUPR, and FPR95 is the share of test images taken for them where 95 % of them are
found.
"""
COUNTS = {"parameters": "cost/params", "multiply-adds": "cost/mult_adds"}
TRAINING = {"members' losses": ("method", "reduction"), "epochs": ("recipe", "epochs")}  # of a run's settings
ONE_SEED = """\
With one seed an interval and its p-value are over test images alone: they tell two trainings apart, not two methods.
"""
HOLM = """\
Differences with 95 % intervals, by a bootstrap over test images with seeds as blocks, over the seeds that both rows
have; a deep ensemble is compared with the mean of its own members. With two seeds the bootstrap sees about half of the
variance between seeds. Holm's correction of the p-values is over the comparisons of this table, separately for accuracy
and NLL, so an interval may leave out zero and its p be above 0.05.
"""
TIMES = {  # in the reference row's
    "images seen": "seen",
    "training FLOPs": "train_flops",
    "training time": "train",
    "prediction time": "predict",
}


def write(folder: Path, study: Study, collection: Collection) -> None:
    """Write the tables as Markdown and CSV, and the plots; print the first table."""
    found = frame(study, collection)
    pairs = comparisons(study, collection)
    parts = [markdown(study, found, QUALITY), missing_runs(study, collection)]
    further = further_columns(collection)
    if any(column.head in found for column in further):
        parts += [markdown(study, found, further)]
    parts += [LEGEND, *(f"{note}\n" for note in study.notes)]
    parts += [training_markdown(found)]
    if searched := read_search(folder):
        parts += [search_markdown(study, searched)]
    if len(pairs):
        parts += [comparisons_markdown(study, pairs)]
        write_text(folder / "comparisons.csv", pairs.to_csv(index=False))
    write_text(folder / "table.md", "\n".join([f"# {study.title}\n", *parts]))
    write_text(folder / "table.csv", found.to_csv(index=False))
    for name, figure in figures(study, collection).items():
        with replacing(folder / f"{name}.png") as draft, open(draft, "wb") as file:
            figure.savefig(file, format="png")
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(found[["method", "seeds", *(c.head for c in QUALITY if c.head in found)]].round(4).to_string(index=False))
    Console().print(f"\nTables and plots: {folder}", soft_wrap=True)


def missing_runs(study: Study, collection: Collection) -> str:
    """Say which rows have no run, and which have but one."""
    by_seeds: dict[int, list[str]] = {0: [], 1: []}
    for row, about in study.rows.items():
        by_seeds.setdefault(len(collection.seeds(row)), []).append(about.name)
    heads = {0: "Not run yet", 1: "One seed so far"}
    return " ".join(f"{head}: {'; '.join(by_seeds[n])}." for n, head in heads.items() if by_seeds[n]) + "\n"


def further_columns(collection: Collection) -> tuple[StudyColumn, ...]:
    """List the columns of the second table; out-of-distribution sets are those that the results have."""
    keys = (key for row in collection.runs for results in collection.results(row) for key in results)
    names = dict.fromkeys(of_set[1] for key in keys if (of_set := DETECTED.fullmatch(key)))
    ordered = [*(name for name in FIRST_SETS if name in names), *(name for name in names if name not in FIRST_SETS)]
    return FURTHER + tuple(
        StudyColumn(f"{name} {quantity(measure).head()}", f"ood/{name}/max_probability/{measure}", 1)
        for name in ordered
        for measure in DETECTION
    )


def frame(study: Study, collection: Collection) -> pd.DataFrame:
    """Make a row of each method that has runs: each column's mean and ``<head> std`` over seeds, and how many seeds.

    Accuracy and NLL have bootstrapped 95 % intervals, ``<head> low`` and ``<head> high``. Columns without any number
    are left out; the standard deviation of one seed is NaN.
    """
    lines = []
    rates = {row: ", ".join(of) for row, of in read_search(collection.folder).items()}
    columns = QUALITY + further_columns(collection)
    for row, about in study.rows.items():
        found = collection.results(row)
        if not found:
            continue
        line: dict = {"row": row, "method": about.name, "seeds": len(found)}
        for column in columns:
            numbers = [value for results in found if (value := scaled(results, column.key)) is not None]
            line[column.head] = statistics.fmean(numbers) if numbers else None
            line[f"{column.head} std"] = statistics.stdev(numbers) if len(numbers) > 1 else None
        images = collection.images(row, collection.seeds(row))
        for column, key, scale in IMAGES.values():
            interval = mean(scale * images[key])
            line |= {f"{column.head} low": interval.low, f"{column.head} high": interval.high}
        line |= {head: found[0][key] for head, key in COUNTS.items()}
        of_row = collection.settings(row)
        line |= {head: of_row[group].get(key) for head, (group, key) in TRAINING.items()}
        line |= {"learning rate": of_row["recipe"]["optimizer"]["lr"], "rates searched": rates.get(row)}
        line |= {head: collection.times.get(row, {}).get(key) for head, key in TIMES.items()}
        lines.append(line)
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def markdown(study: Study, found: pd.DataFrame, columns: tuple[StudyColumn, ...]) -> str:
    """Write the table as Markdown: ± one standard deviation over the row's seeds.

    In bold is the best mean of a column, among rows with two seeds or more, which do not owe it to one lucky seed.
    """
    shown = [column for column in columns if column.head in found]
    best = {}
    for column in shown:
        better = column.judged and quantity(column.key).better
        numbers = found.loc[found["seeds"] > 1, column.head].dropna()
        best[column] = better and len(numbers) and column.text(numbers.max() if better == "higher" else numbers.min())
    reference = found[found["row"] == study.reference]
    heads = ["method", "seeds", *(column.head for column in shown), *COUNTS]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for _, line in found.iterrows():
        cells = [line["method"], str(line["seeds"])]
        cells += [_cell(line, column, best[column]) for column in shown]
        for head in COUNTS:
            relative = f" ({line[head] / reference[head].iloc[0]:.2f}x)" if len(reference) else ""
            cells.append(f"{count(line[head])}{relative}")
        lines.append(cells)
    return _table(lines)


def training_markdown(found: pd.DataFrame) -> str:
    """Write as Markdown how each row is trained, and what a step and a prediction take where they were timed."""
    times = [head for head in TIMES if head in found]
    lines = [["method", *TRAINING, "learning rate", *times], ["---", *["---:"] * (len(TRAINING) + 1 + len(times))]]
    for _, line in found.iterrows():
        cells = [line["method"], *(MISSING if pd.isna(of := line.get(head)) else str(of) for head in TRAINING)]
        searched = line.get("rates searched")
        cells.append(f"{line['learning rate']}{'' if pd.isna(searched) else f' (of {searched})'}")
        cells += [MISSING if pd.isna(line[head]) else f"{line[head]:.2f}x" for head in times]
        lines.append(cells)
    return _table(lines)


def search_markdown(study: Study, searched: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Write as Markdown what validation said of each learning rate: accuracy, %, and NLL."""
    rates = sorted({rate for of in searched.values() for rate in of}, key=float)
    lines = [["validation accuracy %, NLL", *rates], ["---", *["---:"] * len(rates)]]
    for row in study.rows:
        if of := searched.get(row):
            told = (of.get(rate) for rate in rates)
            cells = (f"{100 * one['acc']:.2f}, {one['nll']:.3f}" if one else MISSING for one in told)
            lines.append([study.rows[row].name, *cells])
    return _table(lines)


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(line: pd.Series, column: StudyColumn, best: str | None) -> str:
    value, spread = line[column.head], line.get(f"{column.head} std")
    if pd.isna(value):
        return MISSING
    text = column.text(value)
    if pd.isna(spread):
        return text
    return f"{f'**{text}**' if text == best else text} ± {column.text(spread)}"


def comparisons(study: Study, collection: Collection) -> pd.DataFrame:
    """Compare the rows that the plan pairs, in accuracy (percentage points) and NLL; see `Collection.compared`.

    Each measure's p-values are adjusted together.
    """
    lines = []
    for one, other in study.comparisons:
        images = collection.compared(study, one, other)
        for measure, (_, key, scale) in IMAGES.items() if images else ():
            found = difference(*(scale * of[key] for of in images))
            seeds = len(images[0][key])
            lines.append({"row": one, "against": other, "measure": measure, "seeds": seeds, **vars(found)})
    table = pd.DataFrame(lines)
    if len(table):
        table["p, Holm"] = table.groupby("measure")["p"].transform(holm)
    return table


def comparisons_markdown(study: Study, found: pd.DataFrame) -> str:
    """Write the comparisons as Markdown, a line each."""
    lines = [
        "| | against | seeds | accuracy, points | p (Holm) | NLL | p (Holm) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (one, other), pair in found.groupby(["row", "against"], sort=False):
        cells = [study.rows[one].name, study.rows[other].name, str(pair["seeds"].iloc[0])]
        for (_, line), digits in zip(pair.iterrows(), (2, 4), strict=True):
            interval = f"{line['low']:+.{digits}f} to {line['high']:+.{digits}f}"
            cells += [f"{line['mean']:+.{digits}f} ({interval})", _p(line["p, Holm"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", HOLM]
    if (found["seeds"] == 1).any():
        lines += [ONE_SEED]
    return "\n".join(lines) + "\n"


def _p(value: float) -> str:
    return "< 0.01" if value < 0.01 else f"{value:.2f}"


def figures(study: Study, collection: Collection) -> dict[str, Figure]:
    """Draw each plot by the name of its file: points of all rows that have runs, lines of the highlighted ones."""
    rows = {
        row: Compared(study.rows[row].name, collection.results(row), [collection.per_image(row, s) for s in seeds])
        for row in dict.fromkeys([*study.highlighted, *study.rows])  # the first have colours of their own
        if (seeds := collection.seeds(row))
    }
    lines = [rows[row] for row in study.highlighted if row in rows] or [*rows.values()]
    costs = {
        "accuracy_flops": against_cost([*rows.values()], "cost/mult_adds", "test/acc"),
        "nll_params": against_cost([*rows.values()], "cost/params", "test/nll"),
    }
    curves = {name: figure for name, of in study.curves.items() if (figure := _curves(of, collection))}
    found = {
        **(curves or costs),  # where rows are a method at several sizes, curves say it clearer
        "reliability": reliability(lines),
        "severity": severity(lines),
        "risk_coverage": risk_coverage(lines),
    }
    return {name: figure for name, figure in found.items() if figure}


def _curves(curves: Curves, collection: Collection) -> Figure | None:
    """Draw the lines through what has been run; None while each is a single point."""
    if all(sum(bool(collection.seeds(row)) for row in line.values()) < 2 for line in curves.lines.values()):
        return None
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 3.6))
        panels = figure.subplots(1, 2)
        run: set[float] = set()
        for axes, key in zip(panels, ("test/acc", "test/nll"), strict=True):
            for i, (name, line) in enumerate(curves.lines.items()):
                found = {x: collection.results(row) for x, row in line.items()}
                values = {x: [scaled(results, key) for results in of] for x, of in found.items() if of}
                means = [statistics.fmean(of) for of in values.values()]
                spread = [statistics.stdev(of) if len(of) > 1 else 0 for of in values.values()]
                bars = {"yerr": spread, "capsize": 2} if any(spread) else {}
                axes.errorbar(list(values), means, **bars, marker="o", color=style.colour(i), label=name)
                run |= values.keys()
            axes.set(xlabel=curves.x, ylabel=f"test {quantity(key).axis}", xscale="log")
            axes.set_xticks(sorted(run))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves.lines))
    return figure
