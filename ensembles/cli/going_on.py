"""Going on with a run until it has results, whatever has become of it so far. Torch is not imported here."""

from contextlib import nullcontext

from ensembles.cli import complain
from ensembles.reports.terminal import show
from ensembles.runs import Run
from ensembles.training.interruption import INTERRUPTION
from ensembles.training.launch import launch, leads


@INTERRUPTION.listening()
def go_on(run: Run) -> bool:
    """Show the run's results, after working on it until there are some; returns whether there are.

    Of processes that something else has started together, only the first holds the folder, and speaks.

    Raises:
        Interrupted: a signal has ended it, after what was done is saved.
    """
    try:
        run.require_same_images()
        if run.evaluated is None:
            if run.recipe and leads():
                print(f"recipe {run.recipe}", flush=True)
            with run.opened() if leads() else nullcontext():
                from ensembles.experiment import work  # imports torch, so only when there is work for it

                launch(work, (run.config, run), run.config["trainer"]["devices"])
        if leads():
            show(run.results(), run.evaluated)
        return True
    except Exception as error:
        return complain(error, run)
