"""A study's table: a row a method, mean and standard deviation over its seeds. Torch is not imported here."""

import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from ensembles.reports.numbers import MISSING, count
from ensembles.studies.bootstrap import difference, holm
from ensembles.studies.collection import Collection
from ensembles.studies.study import Study


class Column(NamedTuple):
    """A column over runs.

    Attributes:
        head: what stands above it; its unit too.
        of: takes a run's results to a number, or to None where they have none.
        better: -1 where smaller is better, 1 where larger is, 0 where neither.
        digits: after the point.
    """

    head: str
    of: Callable[[Mapping], float | None]
    better: int
    digits: int


def _key(key: str, scale: float = 1) -> Callable[[Mapping], float | None]:
    return lambda results: scale * results[key] if results.get(key) is not None else None


def _members(results: Mapping) -> float | None:
    found = results.get("members/acc")
    return 100 * statistics.fmean(found) if found else None


def _ood(name: str, measure: str) -> Callable[[Mapping], float | None]:
    return _key(f"ood/{name}/max_probability/{measure}", 100)


QUALITY = (
    Column("acc %", _key("test/acc", 100), 1, 2),
    Column("NLL", _key("test/nll"), -1, 4),
    Column("ECE", _key("test/ece"), -1, 4),
    Column("Brier", _key("test/brier"), -1, 4),
    Column("AURC", _key("test/aurc"), -1, 4),
    Column("members' acc %", _members, 1, 2),
    Column("disagreement %", _key("diversity/disagreement", 100), 0, 2),
)
SHIFT = (
    Column("corrupted acc %", _key("corrupted/acc", 100), 1, 2),
    Column("corrupted NLL", _key("corrupted/nll"), -1, 4),
    Column("corrupted ECE", _key("corrupted/ece"), -1, 4),
    *(
        Column(f"{name} {head} %", _ood(name, measure), better, 1)
        for name in ("svhn", "digits", "photos")
        for head, measure, better in (("AUROC", "auroc", 1), ("AUPR", "aupr", 1), ("FPR95", "fpr95", -1))
    ),
)
COUNTS = {"parameters": "cost/params", "multiply-adds": "cost/mult_adds"}


def frame(study: Study, collection: Collection, columns: tuple[Column, ...]) -> pd.DataFrame:
    """A row a method that has runs: for each column its mean and ``<head> std`` over seeds, and how many seeds.

    Columns without any number are left out; the standard deviation of one seed is NaN.
    """
    lines = []
    for row, name in study.rows.items():
        found = collection.results(row)
        if not found:
            continue
        line: dict = {"row": row, "method": name, "seeds": len(found)}
        for column in columns:
            numbers = [value for results in found if (value := column.of(results)) is not None]
            line[column.head] = statistics.fmean(numbers) if numbers else None
            line[f"{column.head} std"] = statistics.stdev(numbers) if len(numbers) > 1 else None
        for head, key in COUNTS.items():
            line[head] = found[0][key]
        lines.append(line)
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def markdown(study: Study, found: pd.DataFrame, columns: tuple[Column, ...]) -> str:
    """The table as Markdown: ± one standard deviation over the row's seeds, the best mean of a column in bold."""
    shown = [column for column in columns if column.head in found]
    reference = found[found["row"] == study.reference]
    heads = ["method", "seeds", *(column.head for column in shown), *COUNTS]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for _, line in found.iterrows():
        cells = [line["method"], str(line["seeds"])]
        for column in shown:
            best = column.better and line[column.head] == (found[column.head] * column.better).max() * column.better
            cells.append(_cell(line, column, bool(best)))
        for head in COUNTS:
            times = f" ({line[head] / reference[head].iloc[0]:.2f}x)" if len(reference) else ""
            cells.append(f"{count(line[head])}{times}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(line: pd.Series, column: Column, best: bool) -> str:
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
        cells = [study.rows[one], study.rows[other], str(pair["seeds"].iloc[0])]
        for (_, line), digits in zip(pair.iterrows(), (2, 4), strict=True):
            interval = f"{line['low']:+.{digits}f} to {line['high']:+.{digits}f}"
            cells += [f"{line['mean']:+.{digits}f} ({interval})", f"{line['p, Holm']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
