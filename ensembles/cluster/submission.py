"""Runs as jobs: what a job does, handing jobs to submitit, and waiting for them. Torch is not imported here."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ensembles.errors import Interrupted, UserError, complain, reason
from ensembles.experiment import run_experiment
from ensembles.files import write_text
from ensembles.runs import Run
from ensembles.signals import INTERRUPTION


def queued() -> set[str] | None:
    """The ids of the user's jobs that wait, run or end just now, those of arrays as ``5_2``; None without an answer."""
    try:
        answer = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format=%i"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(answer.stdout.split()) if answer.returncode == 0 else None


def described(job: str) -> dict[str, str]:
    """What ``scontrol show job`` tells, such as JobState and PreemptTime; empty for a job that SLURM does not know."""
    try:
        answer = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"(\w+)=(\S+)", answer.stdout))


@dataclass(frozen=True)
class Job:
    """A run, as what submitit calls in each process of its job.

    Told that its time is up, the run saves and the job waits for its next turn, where the run goes on.
    """

    run: Run

    def __call__(self) -> None:
        """Go on with the run.

        Raises:
            SystemExit: the run failed, or was interrupted.
        """
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's own handler, which does not wait until a run has saved
        try:
            run_experiment(self.run)
        except Interrupted as interruption:
            if interruption.signum == signal.SIGUSR2 or _preempted():
                requeue(interruption.signum, None)  # exits in the process that asks for the job's next turn
                sys.exit()
            sys.exit(interruption.code)
        except Exception as error:
            complain(error, self.run.error_log)
            sys.exit(1)

    def checkpoint(self):
        """What submitit submits for the next turn: the same, as the run's folder knows how far it is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _preempted() -> bool:
    """Whether SLURM announces a preemption: a job that ends in the time it is given to save would not be requeued.

    ``scontrol requeue`` and ``scancel`` send the same signal, but have decided themselves what becomes of the job.
    """
    job = os.environ.get("SLURM_JOB_ID")
    return job is not None and described(job).get("PreemptTime", "None") != "None"


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


# what submitit calls alike everywhere; the name of anything else begins with the cluster's
SHARED = {"name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node"}
ELSEWHERE = {"cluster", "at_a_time", "max_num_timeout"}  # settings that do not describe a job


def start(runs: list[Run], settings: dict, folder: Path) -> list[tuple[Ticket, object]]:
    """Submit a job for each run: its ticket, which is kept in the run's folder, and submitit's job.

    Args:
        settings: the jobs', as `ensembles.cluster.settings.job_settings` returns them.
        folder: for the jobs' logs, and what submitit keeps.

    Raises:
        UserError: submitit or SLURM is not there, or refuses.
    """
    cluster = settings["cluster"]
    if importlib.util.find_spec("submitit") is None:
        raise UserError(f"hydra/launcher=submitit_{cluster} needs submitit: pip install 'submitit>=1.5'.")
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise UserError("hydra/launcher=submitit_slurm needs SLURM, and there is no sbatch on this machine.")
    import submitit

    for run in runs:
        if run.config["force"]:  # here, as a job that is requeued must not
            run.set_aside()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    try:
        executor = submitit.AutoExecutor(folder / "%j", cluster=cluster, **_limits(settings))
        executor.update_parameters(stderr_to_stdout=True, **_parameters(settings))
        with executor.batch():
            jobs = [executor.submit(Job(run)) for run in runs]
    except (submitit.core.utils.FailedJobError, AssertionError, NameError) as error:
        raise UserError(f"The jobs cannot be submitted: {reason(error)}.") from error
    tickets = [
        Ticket(run, job.job_id, str(folder / job.job_id / job.paths.stdout.name))
        for run, job in zip(runs, jobs, strict=True)
    ]
    for ticket in tickets:
        ticket.keep()
    return list(zip(tickets, jobs, strict=True))


def _limits(settings: dict) -> dict:
    return {"slurm_max_num_timeout": settings["max_num_timeout"]} if settings["cluster"] == "slurm" else {}


def _parameters(settings: dict) -> dict:
    """The settings by the names that submitit has for them."""
    given = {key: value for key, value in settings.items() if key not in ELSEWHERE and value is not None}
    if settings["cluster"] == "slurm":
        given["additional_parameters"] = {"requeue": True} | given["additional_parameters"]
        # a process that dies takes the others along; srun does not know by itself what sbatch was asked for
        given["srun_args"] = ["--kill-on-bad-exit=1", f"--cpus-per-task={given['cpus_per_task']}"]
    return {key if key in SHARED else f"{settings['cluster']}_{key}": value for key, value in given.items()}


POLL, LONGEST = 2, 60  # seconds between questions to SLURM, at first and after some time


@INTERRUPTION.listening()
def submit(jobs: list[tuple[dict, Run]], folder: Path) -> None:
    """Submit the runs that have no results and are in no job yet; returns when all their jobs have ended.

    Args:
        jobs: settings of a run's job, as `ensembles.cluster.settings.job_settings` returns them, and the run.
        folder: for the jobs' logs, and what submitit keeps.

    Raises:
        Interrupted: a signal has ended the waiting; jobs of SLURM go on without it.
        UserError: submitit or SLURM is not there, or refuses.
    """
    console = Console(soft_wrap=True, highlight=False)
    waiting, alike = _sorted(jobs)
    if waiting:
        console.print(f"Waiting for {_listed(waiting)}, submitted before.")
    for text, runs in alike.items():
        settings = json.loads(text)
        size = settings.get("at_a_time", len(runs))
        for first in range(0, len(runs), size):
            started = start(list(runs.values())[first : first + size], settings, folder)
            tickets = [ticket for ticket, _ in started]
            console.print(f"Started {_listed(tickets)}; what they write is in {folder}.")
            if settings["cluster"] == "slurm":
                waiting += tickets
            else:
                while not all(job.done() for _, job in started):
                    time.sleep(POLL)
                for ticket in tickets:
                    ticket.close()
    _wait(waiting)


def _sorted(jobs: list[tuple[dict, Run]]) -> tuple[list[Ticket], dict[str, dict[Path, Run]]]:
    """The tickets of runs that are in a job, and by their jobs' settings those that are to be in one."""
    known = queued() or set()
    waiting, alike = [], {}
    for settings, run in jobs:
        ticket = Ticket.of(run)
        if ticket and ticket.id in known:
            waiting.append(ticket)
        elif run.config["force"] or run.results() is None:
            alike.setdefault(json.dumps(settings), {})[run.folder] = run
    return waiting, alike


def _wait(tickets: list[Ticket]) -> None:
    """Wait until SLURM lists none of the jobs any more; one that is requeued stays listed."""
    began = time.monotonic()
    while tickets:
        time.sleep(min(LONGEST, max(POLL, (time.monotonic() - began) / 20)))
        known = queued()
        if known is not None:
            for ticket in tickets:
                if ticket.id not in known:
                    ticket.close()
            tickets = [ticket for ticket in tickets if ticket.id in known]


def _listed(tickets: list[Ticket]) -> str:
    return f"{len(tickets)} job{'s' * (len(tickets) > 1)} ({', '.join(ticket.id for ticket in tickets)})"
