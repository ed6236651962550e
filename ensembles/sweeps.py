"""A sweep: an index into runs, with one table over them. Torch is not imported here.

Its folder follows from the overrides, so a sweep that is taken up again finds its runs, and two sweeps share the runs
that they have in common.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from ensembles.errors import UserError
from ensembles.files import load_json, write_text
from ensembles.renamed import by_present_names
from ensembles.reports.sweep_table import RunRow, compare, line, write_csv
from ensembles.runs import Run, state


@dataclass(frozen=True)
class Sweep:
    """The runs of one multirun command.

    Attributes:
        folder: holds ``index.json`` and ``table.csv``.
        arguments: the overrides that it was started with.
        runs: for each run what the sweep varies, as override -> value, and the run.
        jobs: for each run of a planned sweep what its job asks its cluster for, or None if it is no cluster's job.
        by_plugin: whether a launcher or sweeper of Hydra's that is none of ours, such as joblib's, runs them.
    """

    folder: Path
    arguments: list[str]
    runs: list[tuple[dict[str, str], Run]]
    jobs: list[dict | None] = field(default_factory=list)
    by_plugin: bool = False

    @staticmethod
    def folder_of(arguments: list[str], sweeps_dir: str) -> Path:
        """Name the folder of a sweep with these arguments, in whatever order."""
        return Path(sweeps_dir) / hashlib.blake2b(json.dumps(sorted(arguments)).encode(), digest_size=4).hexdigest()

    @classmethod
    def in_folder(cls, folder: Path) -> "Sweep":
        """Read the sweep of a folder with an index.

        Raises:
            UserError: the folder is no sweep's.
        """
        try:
            index = load_json(folder / "index.json")
            start = Path(index["started_in"])
            runs = []
            for entry in index["runs"]:
                config = by_present_names(entry["config"])
                groups = [config[group] for group in ("data", "evaluation", "recipe")]
                if not all(isinstance(group, dict) for group in groups) or "epochs" not in config["recipe"]:
                    raise TypeError("a run's config has other groups")
                if "test_on" not in config:
                    raise KeyError("test_on")
                runs.append((dict(entry["varied"]), Run(config, start / entry["folder"])))
            return cls(folder, list(index["arguments"]), runs)
        except OSError as error:
            raise UserError(f"{folder} is no sweep's folder: it has no index.json.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / 'index.json'} is damaged or old: start the same sweep again.") from error

    def write_index(self) -> None:
        """Write what `in_folder` reads.

        Raises:
            UserError: the folder cannot be made or written.
        """
        runs = [{"varied": varied, "folder": str(run.folder), "config": run.config} for varied, run in self.runs]
        index = {"arguments": self.arguments, "started_in": os.getcwd(), "runs": runs}
        text = json.dumps(index, indent=2) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "index.json", text)
        except OSError as error:
            raise UserError(f"{self.folder} cannot be made ({error.strerror}): set sweeps_dir.") from error
        except UserError as error:
            raise UserError(f"{str(error).partition(': ')[0]}: free space or set sweeps_dir.") from error

    @property
    def total(self) -> int:
        """Count the runs, also of those that are not known yet."""
        return len(self.runs)

    def rows(self) -> list[RunRow]:
        """List for each run what it varies, its state and its results."""
        return [RunRow(varied, state(run), run.results() or {}) for varied, run in self.runs]

    def tell(self, run: Run) -> None:
        """Print a line on one of the runs: which it is, of how many, and its result."""
        places = [place for place, (_, planned) in enumerate(self.runs) if planned.folder == run.folder]
        for place in places[:1]:
            row = RunRow(self.runs[place][0], state(run), run.results() or {})
            print(f"[{place + 1} of {self.total}] {line(row)}", flush=True)

    def show(self) -> bool:
        """Print the table over the runs and write it as CSV; returns whether every run has results."""
        rows = self.rows()
        console = Console()
        console.print(compare(rows))
        write_csv(self.folder / "table.csv", rows)
        console.print(f"The table as CSV: {self.folder / 'table.csv'}", soft_wrap=True)
        return all(row.status == "done" for row in rows)
