"""The measurements of training over time, from the run's metrics.csv."""

import csv
import math
from collections import defaultdict
from pathlib import Path

Series = dict[str, dict[int, float]]  # column -> epoch (from 1) -> mean of the values logged in it


def read(path: str | Path) -> Series:
    """Read a CSV with an ``epoch`` column (from 0); empty cells, words and numbers that are not finite are left out."""
    values = defaultdict(lambda: defaultdict(list))
    with Path(path).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            epoch = _number(row.pop("epoch", None))
            for column, cell in row.items():
                value = _number(cell)
                if epoch is not None and value is not None:
                    values[column][int(epoch) + 1].append(value)
    return {
        column: {epoch: sum(found) / len(found) for epoch, found in sorted(epochs.items())}
        for column, epochs in values.items()
    }


def _number(cell: object) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
