"""A sweep: an index into runs, with one table over them. Torch is not imported here.

Its folder follows from the overrides, so a sweep that is taken up again finds its runs, and two sweeps share the runs
that they have in common.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ensembles.cli.combinations import combinations
from ensembles.cli.config import checked
from ensembles.errors import UserError
from ensembles.files import write_text
from ensembles.reports import table
from ensembles.runs import Run


@dataclass(frozen=True)
class Sweep:
    """The runs of one multirun command.

    Attributes:
        folder: holds ``index.json`` and ``table.csv``.
        runs: for each run what the sweep varies, as override -> value, and the run.
    """

    folder: Path
    runs: list[tuple[dict[str, str], Run]]

    @classmethod
    def plan(cls, arguments: list[str], config_dir: str | None = None) -> "Sweep":
        """The sweep over all combinations of the arguments' choices; every configuration is checked before any runs.

        Args:
            config_dir: a folder of the user's own configs.

        Raises:
            UserError: a combination that cannot work, or a folder that cannot be written.
        """
        runs = []
        for varied, config in combinations(arguments, config_dir):
            choices = config.hydra.runtime.choices
            del config.hydra
            runs.append((varied, Run.of(checked(config), choices)))
        digest = hashlib.blake2b(json.dumps(sorted(arguments)).encode(), digest_size=4).hexdigest()
        sweep = cls(Path(runs[0][1].config["sweeps_dir"]) / digest, runs)
        sweep._write_index(arguments)
        return sweep

    def _write_index(self, arguments: list[str]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder} cannot be made ({error.strerror}): set sweeps_dir.") from error
        index = {
            "arguments": arguments,
            "runs": [{"varied": varied, "folder": str(run.folder)} for varied, run in self.runs],
        }
        write_text(self.folder / "index.json", json.dumps(index, indent=2) + "\n")

    def rows(self) -> list[table.Row]:
        """For each run what it varies, its status (done, failed with the reason, missing) and its results."""
        return [table.Row(varied, _status(run), run.results() or {}) for varied, run in self.runs]

    def show(self) -> bool:
        """Print the table over the runs and write it as CSV; returns whether every run has results."""
        rows = self.rows()
        console = Console()
        console.print(table.compare(rows))
        table.write_csv(self.folder / "table.csv", rows)
        console.print(f"The table as CSV: {self.folder / 'table.csv'}", soft_wrap=True)
        return all(row.status == "done" for row in rows)


def _status(run: Run) -> str:
    if run.results() is not None:
        return "done"
    try:
        return f"failed: {run.error_log.read_text().strip().splitlines()[-1]}"
    except (OSError, IndexError):
        return "missing"
