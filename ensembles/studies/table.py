"""A study's table: a row a method, mean and standard deviation over its seeds. Torch is not imported here."""

import statistics
from typing import NamedTuple

import pandas as pd

from ensembles.reports.schema import MISSING, count, quantity, scaled
from ensembles.studies.bootstrap import difference, holm, mean
from ensembles.studies.collection import Collection
from ensembles.studies.study import Study


class StudyColumn(NamedTuple):
    """A column over runs.

    Attributes:
        head: what stands above it; its unit too.
        key: of the results.
        digits: after the point.
    """

    head: str
    key: str
    digits: int

    @property
    def sign(self) -> int:
        """-1 where smaller is better, 1 where larger is, 0 where neither."""
        return {"higher": 1, "lower": -1, None: 0}[quantity(self.key).better]


QUALITY = (
    StudyColumn("acc %", "test/acc", 2),
    StudyColumn("NLL", "test/nll", 4),
    StudyColumn("ECE", "test/ece", 4),
    StudyColumn("Brier", "test/brier", 4),
    StudyColumn("AURC", "test/aurc", 4),
    StudyColumn("members' acc %", "members/acc", 2),
    StudyColumn("disagreement %", "diversity/disagreement", 2),
)
SHIFT = (
    StudyColumn("corrupted acc %", "corrupted/acc", 2),
    StudyColumn("corrupted NLL", "corrupted/nll", 4),
    StudyColumn("corrupted ECE", "corrupted/ece", 4),
    *(
        StudyColumn(f"{name} {quantity(measure).head()}", f"ood/{name}/max_probability/{measure}", 1)
        for name in ("svhn", "digits", "photos")
        for measure in ("auroc", "aupr", "fpr95")
    ),
)
COUNTS = {"parameters": "cost/params", "multiply-adds": "cost/mult_adds"}
TIMES = {  # in the reference row's
    "training FLOPs": "train_flops",
    "training time": "train",
    "prediction time": "predict",
}


def frame(study: Study, collection: Collection, columns: tuple[StudyColumn, ...]) -> pd.DataFrame:
    """A row a method that has runs: for each column its mean and ``<head> std`` over seeds, and how many seeds.

    Accuracy and NLL have bootstrapped 95 % intervals, ``<head> low`` and ``<head> high``. Columns without any number
    are left out; the standard deviation of one seed is NaN.
    """
    lines = []
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
        for column, measure, scale in ((QUALITY[0], "correct", 100), (QUALITY[1], "log_likelihood", -1)):
            interval = mean(scale * images[measure])
            line |= {f"{column.head} low": interval.low, f"{column.head} high": interval.high}
        line |= {head: found[0][key] for head, key in COUNTS.items()}
        line |= {head: collection.times.get(row, {}).get(key) for head, key in TIMES.items()}
        lines.append(line)
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def markdown(study: Study, found: pd.DataFrame, columns: tuple[StudyColumn, ...]) -> str:
    """The table as Markdown: ± one standard deviation over the row's seeds, the best mean of a column in bold."""
    shown = [column for column in columns if column.head in found]
    reference = found[found["row"] == study.reference]
    times = [head for head in TIMES if head in found]
    heads = ["method", "seeds", *(column.head for column in shown), *COUNTS, *times]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for _, line in found.iterrows():
        cells = [line["method"], str(line["seeds"])]
        for column in shown:
            best = column.sign and line[column.head] == (found[column.head] * column.sign).max() * column.sign
            cells.append(_cell(line, column, bool(best)))
        for head in COUNTS:
            relative = f" ({line[head] / reference[head].iloc[0]:.2f}x)" if len(reference) else ""
            cells.append(f"{count(line[head])}{relative}")
        cells += [MISSING if pd.isna(line[head]) else f"{line[head]:.2f}x" for head in times]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(line: pd.Series, column: StudyColumn, best: bool) -> str:
    value, spread = line[column.head], line.get(f"{column.head} std")
    if pd.isna(value):
        return MISSING
    text = f"{value:.{column.digits}f}"
    text = f"**{text}**" if best else text
    return text if spread is None or pd.isna(spread) else f"{text} ± {spread:.{column.digits}f}"


def comparisons(study: Study, collection: Collection) -> pd.DataFrame:
    """The comparisons that were named before, of accuracy (percentage points) and NLL, over the seeds both rows have.

    Each measure's p-values are adjusted together.
    """
    lines = []
    for one, other in study.comparisons:
        both = sorted({*collection.seeds(one)} & {*collection.seeds(other)})
        if not both:
            continue
        images = [collection.images(row, both) for row in (one, other)]
        for measure, key, scale in (("accuracy", "correct", 100), ("NLL", "log_likelihood", -1)):
            found = difference(*(scale * of[key] for of in images))
            lines.append({"row": one, "against": other, "measure": measure, "seeds": len(both), **vars(found)})
    table = pd.DataFrame(lines)
    if len(table):
        table["p, Holm"] = table.groupby("measure")["p"].transform(lambda p: pd.Series(holm(list(p)), p.index))
    return table


def comparisons_markdown(study: Study, found: pd.DataFrame) -> str:
    """The comparisons as Markdown, a line each."""
    lines = ["| | against | seeds | accuracy, points | p | NLL | p |", "|---|---|---:|---:|---:|---:|---:|"]
    for (one, other), pair in found.groupby(["row", "against"], sort=False):
        cells = [study.rows[one].name, study.rows[other].name, str(pair["seeds"].iloc[0])]
        for (_, line), digits in zip(pair.iterrows(), (2, 4), strict=True):
            interval = f"{line['low']:+.{digits}f} to {line['high']:+.{digits}f}"
            cells += [f"{line['mean']:+.{digits}f} ({interval})", f"{line['p, Holm']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
