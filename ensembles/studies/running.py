"""Running what a study misses, and writing what it has found. Torch is not imported here unless runs are collected."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from ensembles.files import replacing, write_text
from ensembles.reproduction.running import train
from ensembles.studies.collection import Collection
from ensembles.studies.figures import figures
from ensembles.studies.study import Study, settings
from ensembles.studies.table import QUALITY, SHIFT, comparisons, comparisons_markdown, frame, markdown


def study(folder: Path, plan: Study, rows: Sequence[str], seeds: int, overrides: Sequence[str], runs: bool) -> bool:
    """Train what is missing of these rows, seed by seed, collect it, and write all that is there.

    Returns:
        Whether the rows have these seeds now.
    """
    composed = _for_configs(overrides)
    current = {row: settings(plan.run(row, 0, composed).config) for row in plan.rows}
    collection = Collection.of(folder, plan, current)
    for seed in range(seeds):
        missing = [row for row in rows if not collection.has(row, seed)]
        if runs:
            unfinished = [row for row in missing if plan.run(row, seed, composed).results() is None]
            for words in plan.commands(unfinished):
                train(["-m", *words, f"seed={seed}", *overrides])
        for row in missing:
            run = plan.run(row, seed, composed)
            if run.results() is not None:
                collection.add(row, run)
    if collection.entries:
        collection.write(plan)
        write(folder, plan, collection)
    lacking = [f"{row} {seed}" for row in rows for seed in range(seeds) if not collection.has(row, seed)]
    if lacking:
        Console().print(f"Not there yet (row, seed): {', '.join(lacking)}.", soft_wrap=True)
    return not lacking


def write(folder: Path, plan: Study, collection: Collection) -> None:
    """Write the tables as Markdown and CSV, and the plots; print the first table."""
    found = frame(plan, collection, QUALITY + SHIFT)
    pairs = comparisons(plan, collection)
    parts = [markdown(plan, found, QUALITY), "", markdown(plan, found, SHIFT)]
    if len(pairs):
        parts += ["", comparisons_markdown(plan, pairs)]
        write_text(folder / "comparisons.csv", pairs.to_csv(index=False))
    write_text(folder / "table.md", f"# {plan.title}\n\n" + "\n".join(parts))
    write_text(folder / "table.csv", found.to_csv(index=False))
    for name, figure in figures(plan, collection).items():
        with replacing(folder / f"{name}.png") as draft, open(draft, "wb") as file:
            figure.savefig(file, format="png")
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(found[["method", "seeds", *(c.head for c in QUALITY if c.head in found)]].round(4).to_string(index=False))
    Console().print(f"\nTables and plots: {folder}", soft_wrap=True)


def search(folder: Path, plan: Study, rows: Sequence[str], overrides: Sequence[str], runs: bool) -> None:
    """Train each row with each learning rate for a part of the epochs, and write what validation says of it."""
    own = [f"{key}={value}" for key, value in plan.search.settings.items()]
    path = folder / "search.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    words = [*own, *overrides]
    for row in rows:
        rates = [rate for rate in plan.search.rates if str(rate) not in found.get(row, {})]
        if rates and runs:
            listed = ",".join(map(str, rates))
            train(["-m", *plan.overrides(row), f"recipe.optimizer.lr={listed}", *words])
        for rate in rates:
            run = plan.run(row, 0, [f"recipe.optimizer.lr={rate}", *_for_configs(words)])
            if run.results() is not None:
                last = pd.read_csv(run.history).iloc[-1]
                found.setdefault(row, {})[str(rate)] = {key: float(last[f"val/{key}"]) for key in ("acc", "nll")}
        write_text(path, json.dumps(found, indent=1) + "\n")
    print(pd.DataFrame({row: {rate: of["acc"] for rate, of in found.get(row, {}).items()} for row in rows}).T)


def _for_configs(overrides: Sequence[str]) -> list[str]:
    """The overrides that a configuration is composed from: Hydra's own are for the launch."""
    return [word for word in overrides if not word.startswith(("hydra/", "hydra."))]
