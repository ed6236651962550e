"""Handing runs to submitit. Torch is not imported here."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from ensembles.cluster.tickets import Ticket
from ensembles.errors import UserError, reason
from ensembles.runs import Run

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

    from ensembles.cluster.job import Job

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
