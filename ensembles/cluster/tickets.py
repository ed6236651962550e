"""Which job a run is in: kept in the run's folder, so that whoever wants the run next waits for the same job."""

import json
from dataclasses import dataclass

from ensembles.cluster.queue import described
from ensembles.files import write_text
from ensembles.runs import Run


@dataclass(frozen=True)
class Ticket:
    """A run's job.

    Attributes:
        id: the cluster's name for it.
        log: the file to which it writes.
    """

    run: Run
    id: str
    log: str

    @classmethod
    def of(cls, run: Run) -> "Ticket | None":
        """The run's last job."""
        try:
            return cls(run, **json.loads((run.folder / "job.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self) -> None:
        """Write it into the run's folder, in which no earlier job's error stays."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        self.run.error_log.unlink(missing_ok=True)
        write_text(self.run.folder / "job.json", json.dumps({"id": self.id, "log": self.log}))

    def close(self) -> None:
        """Where the job has ended without results and without a word leave what is known as the run's error."""
        if self.run.results() is None and not self.run.error_log.exists():
            state = described(self.id).get("JobState")
            how = f"Job {self.id} ended without results" + (f" ({state})" if state else "")
            write_text(self.run.error_log, f"{how}; its log is {self.log}\n")
