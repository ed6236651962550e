"""Runs as jobs of a cluster: their settings, what a job does, submission and waiting. Torch is not imported here."""

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

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from ensembles.errors import Interrupted, UserError, complain, reason
from ensembles.experiment import run_experiment
from ensembles.files import load_json, write_text
from ensembles.runs import Run
from ensembles.signals import INTERRUPTION

OmegaConf.register_new_resolver("times", lambda a, b: a * b, replace=True)
OmegaConf.register_new_resolver("gpus", lambda accelerator, n: None if accelerator == "cpu" else n, replace=True)

AGREE = {"nodes": "num_nodes", "tasks_per_node": "devices", "gpus_per_node": "devices"}
CLUSTERS = {"submitit.SlurmExecutor": "slurm", "submitit.LocalExecutor": "local"}
MEMORY = ("mem_gb", "mem_per_gpu", "mem_per_cpu")
FOREIGN = ("submitit_folder", "stderr_to_stdout")  # Hydra adds them where hydra-submitit-launcher is installed too


def job_settings(config: DictConfig) -> dict | None:
    """Give the settings of the run's job, or None if the run is no job of a cluster.

    Args:
        config: a composed config with Hydra's own part.

    Raises:
        UserError: settings that contradict each other; the sentence names both.
    """
    if config.hydra.launcher._target_ not in CLUSTERS:
        return None
    try:
        settings = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"hydra.launcher: {reason(error)}.") from error
    settings["cluster"] = CLUSTERS[settings.pop("_target_")]
    for key in FOREIGN:
        settings.pop(key, None)
    trainer = config.trainer
    if settings["cluster"] == "local":
        settings = _local(config, settings)
    if trainer.accelerator == "cpu" and settings["gpus_per_node"]:
        raise UserError(
            f"hydra.launcher.gpus_per_node={settings['gpus_per_node']} contradicts trainer.accelerator=cpu: drop one."
        )
    for key, wanted in AGREE.items():
        if settings.get(key) not in (None, trainer[wanted]):
            raise UserError(
                f"hydra.launcher.{key}={settings[key]} contradicts trainer.{wanted}={trainer[wanted]}:"
                f" set only trainer.{wanted}, the job follows."
            )
    _check_resources(settings)
    return settings


def _local(config: DictConfig, settings: dict) -> dict:
    if config.trainer.num_nodes > 1:
        raise UserError(
            f"hydra/launcher=submitit_local is one machine, but trainer.num_nodes={config.trainer.num_nodes}:"
            " take hydra/launcher=submitit_slurm."
        )
    # one task, which starts the run's processes itself
    kept = {key: settings[key] for key in ("cluster", "timeout_min", "gpus_per_node")}
    return kept | {"at_a_time": config.hydra.sweeper.max_batch_size or 1}


def _check_resources(settings: dict) -> None:
    given = [f"hydra.launcher.{key}={settings[key]}" for key in MEMORY if settings.get(key) is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} contradict each other: set all but one to null.")
    for key in ("timeout_min", "array_parallelism", "cpus_per_task"):
        if key in settings and (not isinstance(settings[key], int) or settings[key] < 1):
            raise UserError(f"hydra.launcher.{key} is {settings[key]!r}, but must be an integer of at least 1.")
    if settings.get("signal_delay_s", 0) >= 60 * settings["timeout_min"]:
        raise UserError(
            f"hydra.launcher.signal_delay_s={settings['signal_delay_s']} leaves a job no time to work before it is told"
            f" to save: it must be less than hydra.launcher.timeout_min={settings['timeout_min']} minutes."
        )


def queued_jobs() -> set[str] | None:
    """List the ids of the user's jobs that SLURM knows, those of arrays as ``5_2``; None without an answer."""
    answer = _asked("squeue", "--me", "--noheader", "--array", "--format=%i")
    return None if answer is None else set(answer.split())


def job_details(job: str) -> dict[str, str]:
    """Read what ``scontrol show job`` tells, such as JobState and PreemptTime; nothing of a job unknown to SLURM."""
    return dict(re.findall(r"(\w+)=(\S+)", _asked("scontrol", "show", "job", job) or ""))


def _asked(*command: str) -> str | None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


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
        """Give submitit what to submit for the next turn: the same, as the run's folder knows how far it is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _preempted() -> bool:
    """Ask whether SLURM announces a preemption: a job that ends in the time it has to save would not be requeued.

    ``scontrol requeue`` and ``scancel`` send the same signal, but have decided themselves what becomes of the job.
    """
    job = os.environ.get("SLURM_JOB_ID")
    return job is not None and job_details(job).get("PreemptTime", "None") != "None"


@dataclass(frozen=True)
class SubmittedJob:
    """What is kept of a run's job, in ``job.json`` of the run's folder.

    Attributes:
        id: the cluster's name for it.
        log: the file to which it writes.
    """

    run: Run
    id: str
    log: str

    @classmethod
    def of(cls, run: Run) -> "SubmittedJob | None":
        """Read the run's last job."""
        try:
            return cls(run, **load_json(run.folder / "job.json"))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self) -> None:
        """Write it into the run's folder, in which no earlier job's error stays."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        self.run.error_log.unlink(missing_ok=True)
        write_text(self.run.folder / "job.json", json.dumps({"id": self.id, "log": self.log}))

    def close(self) -> None:
        """Leave what is known as the run's error, where the job has ended without results and without a word."""
        if self.run.results() is None and not self.run.error_log.exists():
            state = job_details(self.id).get("JobState")
            how = f"Job {self.id} ended without results" + (f" ({state})" if state else "")
            write_text(self.run.error_log, f"{how}; its log is {self.log}\n")


# what submitit calls alike everywhere; the name of anything else begins with the cluster's
SHARED = {"name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node"}
ELSEWHERE = {"cluster", "at_a_time", "max_num_timeout"}  # settings that do not describe a job


def start(runs: list[Run], settings: dict, folder: Path) -> list[tuple[SubmittedJob, object]]:
    """Submit a job for each run: what is kept of it in the run's folder, and submitit's job.

    Args:
        settings: the jobs', as `job_settings` returns them.
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
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    limits = {"slurm_max_num_timeout": settings["max_num_timeout"]} if cluster == "slurm" else {}
    try:
        executor = submitit.AutoExecutor(folder / "%j", cluster=cluster, **limits)
        executor.update_parameters(stderr_to_stdout=True, **_parameters(settings))
        with executor.batch():
            jobs = [executor.submit(Job(run)) for run in runs]
    except (submitit.core.utils.FailedJobError, AssertionError, NameError) as error:
        raise UserError(f"The jobs cannot be submitted: {reason(error)}.") from error
    started = []
    for run, job in zip(runs, jobs, strict=True):
        started.append((SubmittedJob(run, job.job_id, str(folder / job.job_id / job.paths.stdout.name)), job))
        started[-1][0].keep()
    return started


def _parameters(settings: dict) -> dict:
    """Give the settings by the names that submitit has for them."""
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
        jobs: settings of a run's job, as `job_settings` returns them, and the run.
        folder: for the jobs' logs, and what submitit keeps.

    Raises:
        Interrupted: a signal has ended the waiting; jobs of SLURM go on without it.
        UserError: submitit or SLURM is not there, refuses, or does not say which jobs there are.
    """
    console = Console(soft_wrap=True, highlight=False)
    known = queued_jobs() if any(settings["cluster"] == "slurm" for settings, _ in jobs) else set()
    waiting: list[SubmittedJob] = []
    alike: dict[str, dict[Path, Run]] = {}  # by their jobs' settings, the runs that are to be in one
    for settings, run in jobs:
        before = SubmittedJob.of(run)
        wanted = run.config["force"] or run.results() is None
        if before and wanted and known is None:
            raise UserError(
                f"squeue does not answer, so nobody knows whether job {before.id} still works on {run.folder}: give "
                "the same command again later."
            )
        if before and before.id in (known or ()):
            waiting.append(before)
        elif wanted:
            alike.setdefault(json.dumps(settings), {})[run.folder] = run
    if waiting:
        console.print(f"Waiting for {_listed(waiting)}, submitted before.")
    for text, runs in alike.items():
        settings = json.loads(text)
        size = settings.get("at_a_time", len(runs))
        for first in range(0, len(runs), size):
            started = start(list(runs.values())[first : first + size], settings, folder)
            submitted = [kept for kept, _ in started]
            console.print(f"Started {_listed(submitted)}; what they write is in {folder}.")
            if settings["cluster"] == "slurm":
                waiting += submitted
            else:
                while not all(job.done() for _, job in started):
                    time.sleep(POLL)
                for job in submitted:
                    job.close()
    _wait(waiting)


def _wait(jobs: list[SubmittedJob]) -> None:
    """Wait until SLURM lists none of the jobs any more; one that is requeued stays listed."""
    began = time.monotonic()
    while jobs:
        time.sleep(min(LONGEST, max(POLL, (time.monotonic() - began) / 20)))
        known = queued_jobs()
        if known is not None:
            for job in jobs:
                if job.id not in known:
                    job.close()
            jobs = [job for job in jobs if job.id in known]


def _listed(jobs: list[SubmittedJob]) -> str:
    return f"{len(jobs)} job{'s' * (len(jobs) > 1)} ({', '.join(job.id for job in jobs)})"
