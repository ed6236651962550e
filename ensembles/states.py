"""How far a run is. Torch is not imported here."""

from ensembles.errors import UserError
from ensembles.lock import holder
from ensembles.runs import Run


def state(run: Run) -> str:
    """One of done, running, failed, unfinished and missing; what there is to say about it follows after a colon.

    Running names the process, failed the error's last line and the log, unfinished the epochs done.
    """
    if run.results() is not None:
        return "done"
    if owner := holder(run.folder):
        return f"running: {owner}"
    if last := _last_line(run):
        return f"failed: {last} [{run.error_log}]"
    if run.folder.is_dir():
        return f"unfinished: {_epochs(run)} of {run.config['recipe']['epochs']} epochs"
    return "missing"


def _last_line(run: Run) -> str | None:
    try:
        last = run.error_log.read_text().strip().splitlines()[-1]
        return last.removeprefix(f"{UserError.__module__}.UserError: ")
    except (OSError, IndexError):
        return None


def _epochs(run: Run) -> int:
    try:
        return len(run.history.read_text().splitlines()) - 1
    except OSError:
        return 0
