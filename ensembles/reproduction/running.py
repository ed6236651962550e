"""A table's rows as runs: planned and what is missing of them run, or those of a study. Torch is not imported here.

Their configurations pass the same checks as a command line of ``ensembles train``. At small scale nothing is run: rows
on CIFAR-10 have the runs that results/cifar10 has collected.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import yaml

from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError
from ensembles.evaluations import PROVENANCE
from ensembles.papers import Row, Table
from ensembles.papers.experiments import shipped, write_experiments
from ensembles.papers.scales import STUDY, study_row
from ensembles.recipes import CONFIGS
from ensembles.reports.collected import CollectedRun, collected_runs
from ensembles.reports.paper_result import FULL, OWN, substitutions_sentence
from ensembles.reports.table_result import NOT_RUN, UNMEASURED
from ensembles.runs import Run, decides, state

TRAIN = [sys.executable, "-P", "-m", "ensembles", "train"]
BEGUN = ("failed", "running", "unfinished")  # by what most needs to be known


@dataclass(frozen=True)
class Planned:
    """A row and its runs.

    Attributes:
        runs: one for each seed, in the seeds' order.
        added: overrides of the user's, which win over the row's.
    """

    row: Row
    runs: list[Run]
    added: tuple[str, ...] = ()
    note: ClassVar[None] = None  # nothing stands for the row

    @property
    def arguments(self) -> list[str]:
        """The overrides as ``ensembles train`` takes them."""
        return [*self.row.arguments, *self.added]

    @property
    def same(self) -> tuple:
        """Equal for rows of the same runs."""
        return tuple(run.folder for run in self.runs)

    def results(self) -> list[Mapping | None]:
        """Read the results of each run; None where it has none yet."""
        return [run.results() for run in self.runs]

    def status(self, found: Sequence[Mapping | None]) -> str:
        """Say how far the row is, by its `results` and its runs."""
        states = ["done" if one is not None else state(run) for run, one in zip(self.runs, found, strict=True)]
        done = states.count("done")
        if done == len(states):
            return "done"
        begun = [status for word in BEGUN for status in states if status.startswith(word)]
        if begun and begun[0].startswith("failed"):
            return begun[0]
        return ", ".join([*([f"{done} of {len(states)} seeds"] if done else []), *begun[:1]]) or NOT_RUN

    def records(self, found: Sequence[Mapping | None]) -> list[dict]:
        """Make what a table keeps of each run."""
        return [
            _record(run.config["seed"], run.folder, one, _provenance(run))
            for run, one in zip(self.runs, found, strict=True)
        ]


@dataclass(frozen=True)
class StudyRuns:
    """A row and the collected runs that stand for it at small scale.

    Attributes:
        study_row: of results/cifar10; None where none stands for the row.
        runs: in their seeds' order.
    """

    row: Row
    study_row: str | None
    runs: Sequence[CollectedRun] = ()

    @property
    def arguments(self) -> list[str]:
        """The study's row as ``ensembles train`` takes it."""
        return [f"experiment={STUDY.name}/{self.study_row}"] if self.study_row else []

    @property
    def same(self) -> str | None:
        """Equal for rows of the same runs."""
        return self.study_row if self.runs else None

    @property
    def note(self) -> str | None:
        """Which row of the study it is, and its method's settings."""
        if not self.runs:
            return None
        path = CONFIGS / "experiment" / STUDY.name / f"{self.study_row}.yaml"
        experiment = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings = {**experiment.get("method", {}), "width": experiment.get("model", {}).get("width")}
        said = ", ".join(f"{key} = {value}" for key, value in settings.items() if value is not None)
        return f"measured is {self.study_row} of {STUDY.as_posix()}{f': {said}' if said else ''}"

    def results(self) -> list[Mapping]:
        """List the results of each run."""
        return [run.results for run in self.runs]

    def status(self, found: Sequence[Mapping]) -> str:
        """Say whether the row has runs."""
        if self.study_row is None:
            return UNMEASURED
        return "done" if found else NOT_RUN

    def records(self, found: Sequence[Mapping]) -> list[dict]:
        """Make what a table keeps of each run."""
        keys = {"commit", "command", "hardware", "seconds"}
        folder = f"{STUDY.as_posix()}/{self.study_row}"
        return [_record(run.seed, folder, run.results, run.model_dump(include=keys)) for run in self.runs]


def _record(seed: int, folder: Path | str, results: Mapping | None, provenance: dict) -> dict:
    """Put a run into a table's JSON, without single corruptions' results, which are many."""
    kept = {key: value for key, value in (results or {}).items() if not re.match("corrupted/.*/.*/", key)}
    return {"seed": seed, "folder": str(folder), "results": kept, "provenance": provenance if results else {}}


def _provenance(run: Run) -> dict:
    try:
        return json.loads((run.results_folder / PROVENANCE).read_text())
    except (OSError, ValueError, TypeError):  # none, or none that can be read
        return {}


def study_runs(table: Table) -> list[StudyRuns]:
    """Find the collected runs that stand for each row of a table.

    Raises:
        UserError: runs.json is damaged.
    """
    collected = collected_runs(STUDY)
    named = [(row, study_row(row)) for row in table.rows]
    return [StudyRuns(row, name, [run for _, run in sorted(collected.get(name, {}).items())]) for row, name in named]


def plan(table: Table, seeds: int, arguments: Sequence[str] = ()) -> list[Planned]:
    """Make the runs of a table.

    Args:
        seeds: runs of a row, with the seeds 0, 1, ...
        arguments: overrides of the user's, which win over the rows'.

    Raises:
        UserError: names the table, the row and what is wrong with its configuration.
    """
    planned, known = [], set()
    for row in table.rows:
        words = [*row.arguments, *arguments]
        asked = frozenset(
            word if (CONFIGS / word.partition("=")[0]).is_dir() else word.partition("=")[0] for word in words
        )
        try:
            if asked not in known:  # rows of a sweep differ in their values alone, and this is about keys and options
                check(words)
                known.add(asked)
            planned.append(Planned(row, runs_of(words, range(seeds)), tuple(arguments)))
        except UserError as error:
            raise UserError(f"{table.name}, row {row.number} ({row.name}): {error}") from error
    return planned


def runs_of(arguments: list[str], seeds: Iterable[int] = (0,)) -> list[Run]:
    """Make the runs of one configuration's overrides, which have been checked.

    Raises:
        UserError: several configurations, or one that cannot work.
    """
    (_, config), *others = combinations(arguments)
    if others:
        raise UserError("a row has one configuration: give each override one value.")
    plain, choices = checked(config), config.hydra.runtime.choices
    return [Run.of({**plain, "seed": seed}, choices) for seed in seeds]


def without_hydras(overrides: Sequence[str]) -> list[str]:
    """Keep the overrides that a configuration is composed from: Hydra's own are for the launch."""
    return [word for word in overrides if not word.startswith(("hydra/", "hydra."))]


def custom_settings(table: Table, planned: Sequence[Planned], arguments: Sequence[str]) -> Table:
    """Let the table say so where the overrides that its runs are planned with change what they compute."""
    deciding = [word for word in arguments if decides(word.partition("=")[0].lstrip("+"))]
    if not deciding or not any(_changed(table, entry) for entry in planned):
        return table
    return replace(
        table,
        scale=OWN if table.scale == FULL else f"{table.scale}-{OWN}",
        substitutions=(*table.substitutions, f"{', '.join(deciding)} for the rows' own settings"),
        # the printed numbers are of the paper's setting
        drawing=table.drawing and {key: value for key, value in table.drawing.items() if key != "printed"},
    )


def _changed(table: Table, entry: Planned) -> bool:
    (without,) = plan(replace(table, rows=(entry.row,)), 1)
    return _computed(without.runs[0]) != _computed(entry.runs[0])


def _computed(run: Run) -> tuple:
    """Say what is trained and how it is evaluated, whether or not the predictions are kept."""
    evaluation = run.evaluation
    return run.folder.name, {**evaluation, "evaluation": {**evaluation["evaluation"], "save_predictions": None}}


def unfinished(entry: Planned) -> list[str]:
    """List the seeds without results."""
    return [str(run.config["seed"]) for run in entry.runs if run.results() is None]


def tables_with_rows(tables: Sequence[Table], wanted: Sequence[str] | None) -> list[Table]:
    """Choose the tables that have a row that is wanted by number or name; all of them where none is.

    Raises:
        UserError: a row that none of the tables has.
    """
    for word in wanted or ():
        if not any(is_wanted(row, [word]) for table in tables for row in table.rows):
            if len(tables) > 1:
                raise UserError(f"No table has a row {word!r}: --dry-run shows the rows of each.")
            there = "; ".join(f"{row.number} {row.name}" for row in tables[0].rows)
            raise UserError(f"{tables[0].name} has no row {word!r}: there are {there}.")
    return [table for table in tables if not wanted or any(is_wanted(row, wanted) for row in table.rows)]


def missing(planned: Sequence[Planned], wanted: Sequence[str] | None) -> list[Planned]:
    """Choose the rows that miss results and, where some are wanted by number or name, are among these."""
    return [entry for entry in planned if (not wanted or is_wanted(entry.row, wanted)) and unfinished(entry)]


def is_wanted(row: Row, wanted: Sequence[str]) -> bool:
    """Say whether a row is one of those that are wanted by number or name."""
    return not {str(row.number), row.name, row.names[0]}.isdisjoint(wanted)


def run(table: Table, entries: Sequence[Planned], overrides: Sequence[str]) -> None:
    """Run what is missing of these rows, in one multirun."""
    folder = Path(entries[0].runs[0].config["sweeps_dir"]) / table.slug.replace("/", "-")
    names = write_experiments(table, folder)
    seeds = ",".join(sorted({seed for entry in entries for seed in unfinished(entry)}, key=int))
    alike = {entry.runs[0].folder: names[entry.row.number] for entry in entries}  # rows that share runs once
    chosen = ",".join(alike.values())
    train(["-m", "--config-dir", str(folder), f"experiment={chosen}", f"seed={seeds}", *overrides])


def train(arguments: list[str]) -> None:
    """Call ``ensembles train``; what fails is in the runs' folders, and in the table."""
    found = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen([*TRAIN, *arguments], env=os.environ | {"PYTHONPATH": found}) as child:
        try:
            child.wait()
        except KeyboardInterrupt:
            child.wait()  # a terminal's Ctrl-C is for both, and the child saves what it has done
            raise


def commands(
    table: Table, planned: Sequence[Planned], wanted: Sequence[str] | None, overrides: Sequence[str]
) -> list[str]:
    """Write for each row the command that runs what is missing of it, among comments."""
    lines = [f"# {table.slug}: {table.title} ({table.cites})"]
    if table.substitutions:
        lines.append(f"# {substitutions_sentence(table.scale, table.substitutions)}")
    full = table.scale == FULL and not table.is_figure
    options = {row.number: f" (experiment={name})" for name, row in shipped(table).items()} if full else {}
    for entry in missing(planned, wanted):
        words = ["ensembles", "train", "-m", *entry.row.arguments, f"seed={','.join(unfinished(entry))}"]
        named = f"# {entry.row.number} {entry.row.name}{options.get(entry.row.number, '')}"
        lines += [named, shlex.join([*words, *overrides])]
    done = f"{sum(not unfinished(entry) for entry in planned)} of {len(planned)} rows are done"
    return [*lines, f"# {done if planned else 'computed directly, without runs'}", ""]


def study_commands(table: Table, rows: Sequence[StudyRuns]) -> list[str]:
    """Write the command that runs what the table's rows miss of the study, among comments."""
    lacking = dict.fromkeys(entry.study_row for entry in rows if entry.study_row and not entry.runs)
    known = sum(entry.study_row is not None for entry in rows)
    lines = [f"# {table.slug}: {table.title} ({table.cites})"]
    lines.append(f"# {known} of {len(rows)} rows are rows of {STUDY.as_posix()}")
    if lacking:
        lines.append(f"ensembles study {STUDY.as_posix()} --rows {','.join(lacking)} --seeds {table.seeds}")
    return [*lines, ""]
