"""Runs of a sweep as jobs: which are submitted, and waiting for them. Torch is not imported here."""

import json
import time
from pathlib import Path

from rich.console import Console

from ensembles.cluster.executors import start
from ensembles.cluster.queue import queued
from ensembles.cluster.tickets import Ticket
from ensembles.runs import Run
from ensembles.sweeps import Sweep
from ensembles.training.interruption import INTERRUPTION

POLL, LONGEST = 2, 60  # seconds between questions to SLURM, at first and after some time


@INTERRUPTION.listening()
def submit(sweep: Sweep) -> None:
    """Submit the runs that have no results and are in no job yet; returns when the sweep's jobs have ended.

    Raises:
        Interrupted: a signal has ended the waiting; jobs of SLURM go on without it.
        UserError: submitit or SLURM is not there, or refuses.
    """
    console = Console(soft_wrap=True, highlight=False)
    folder = sweep.folder / "jobs"
    waiting, alike = _sorted(sweep)
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


def _sorted(sweep: Sweep) -> tuple[list[Ticket], dict[str, dict[Path, Run]]]:
    """The tickets of runs that are in a job, and by their jobs' settings those that are to be in one."""
    known = queued() or set()
    waiting, alike = [], {}
    for settings, (_, run) in zip(sweep.jobs, sweep.runs, strict=True):
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
