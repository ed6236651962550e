"""What runs in a cluster's job: one run of a sweep, and once more after its machine was taken away."""

import os
import signal
import sys
from dataclasses import dataclass

from submitit.helpers import DelayedSubmission

from ensembles.cluster.submission import described
from ensembles.errors import Interrupted, complain
from ensembles.experiment import run_experiment
from ensembles.runs import Run


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

    def checkpoint(self) -> DelayedSubmission:
        """What submitit submits for the next turn: the same, as the run's folder knows how far it is."""
        return DelayedSubmission(self)


def _preempted() -> bool:
    """Whether SLURM announces a preemption: a job that ends in the time it is given to save would not be requeued.

    ``scontrol requeue`` and ``scancel`` send the same signal, but have decided themselves what becomes of the job.
    """
    job = os.environ.get("SLURM_JOB_ID")
    return job is not None and described(job).get("PreemptTime", "None") != "None"
