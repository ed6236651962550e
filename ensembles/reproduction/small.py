"""Tables at small scale: rows on CIFAR-10 with the runs that results/cifar10 has collected. Nothing is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from ensembles.papers import Row, Table
from ensembles.papers.scales import STUDY, study_row
from ensembles.recipes import CONFIGS
from ensembles.reports.collected import CollectedRun, collected_runs
from ensembles.reports.table_result import MISSING, UNMEASURED
from ensembles.reproduction.running import kept

EXPERIMENTS = CONFIGS / "experiment" / STUDY.name


@dataclass(frozen=True)
class StudyRuns:
    """A paper's row and the runs that stand for it.

    Attributes:
        study_row: of results/cifar10; None where none stands for the row.
        runs: in their seeds' order.
        note: which row it is, and its method's settings.
    """

    row: Row
    study_row: str | None
    runs: Sequence[CollectedRun] = ()
    note: str | None = None

    @property
    def arguments(self) -> list[str]:
        """The study's row as ``ensembles train`` takes it."""
        return [f"experiment={STUDY.name}/{self.study_row}"] if self.study_row else []

    @property
    def same(self) -> str | None:
        """Equal for rows of the same runs."""
        return self.study_row if self.runs else None

    def results(self) -> list[Mapping]:
        """Of each run."""
        return [run.results for run in self.runs]

    def status(self, found: Sequence[Mapping]) -> str:
        """Whether the row has runs."""
        if self.study_row is None:
            return UNMEASURED
        return "done" if found else MISSING

    def records(self, found: Sequence[Mapping]) -> list[dict]:
        """What a table keeps of its runs."""
        keys = ("commit", "command", "hardware", "seconds")
        return [
            {
                "seed": run.seed,
                "folder": f"{STUDY.as_posix()}/{run.row}",
                "results": kept(run.results),
                "provenance": {key: getattr(run, key) for key in keys},
            }
            for run in self.runs
        ]


def study_runs(table: Table) -> list[StudyRuns]:
    """Find the runs that stand for each row of a table.

    Raises:
        UserError: runs.json is damaged.
    """
    collected, found = collected_runs(STUDY), []
    for row in table.rows:
        name = study_row(row)
        runs = [run for _, run in sorted(collected.get(name, {}).items())]
        found.append(StudyRuns(row, name, runs, _note(name) if runs else None))
    return found


def _note(name: str) -> str:
    experiment = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))
    settings = {**experiment.get("method", {}), "width": experiment.get("model", {}).get("width")}
    said = ", ".join(f"{key} = {value}" for key, value in settings.items() if value is not None)
    return f"measured is {name} of {STUDY.as_posix()}{f': {said}' if said else ''}"


def commands(table: Table, rows: Sequence[StudyRuns]) -> list[str]:
    """The command that runs what the table's rows miss, among comments."""
    missing = dict.fromkeys(entry.study_row for entry in rows if entry.study_row and not entry.runs)
    known = sum(entry.study_row is not None for entry in rows)
    lines = [f"# {table.slug}: {table.title} ({table.cites})"]
    lines.append(f"# {known} of {len(rows)} rows are rows of {STUDY.as_posix()}")
    if missing:
        lines.append(f"ensembles study {STUDY.as_posix()} --rows {','.join(missing)} --seeds {table.seeds}")
    return [*lines, ""]
