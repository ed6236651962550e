"""Train, test and report one ensemble, or with -m several.

ensembles train method=packed model=resnet50 data=cifar100
"""

import os
import signal
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ensembles.cli import piped
from ensembles.cli.arguments import planned_sweep
from ensembles.cli.checkpoint_config import compose_as_trained
from ensembles.cli.composing import checked, refused
from ensembles.cli.search import Search
from ensembles.cluster import submit
from ensembles.errors import Interrupted, UserError, complain
from ensembles.experiment import run_experiment
from ensembles.processes import leads
from ensembles.recipes import CONFIGS
from ensembles.runs import Run
from ensembles.sweeps import Sweep


def run_composed(config: DictConfig, sweep: Sweep | None = None) -> bool:
    """Carry out the run of a config that Hydra has composed; returns whether there are results."""
    try:
        of_hydra = HydraConfig.get()
        config, choices = compose_as_trained(config, of_hydra.runtime.choices, of_hydra.overrides.task)
        run = Run.of(checked(config), choices)
    except Exception as error:
        return complain(error)
    return carry_out(run, sweep)


def carry_out(run: Run, sweep: Sweep | None = None) -> bool:
    """Show a run's results, after running what is left of it; returns whether there are any.

    Args:
        sweep: that it is of, which has a line for each run.
    """
    _let_ctrl_c_raise()
    try:
        if run.config["force"] and leads():
            run.set_aside()
        run_experiment(run, brief=sweep is not None)
        successful = True
    except Exception as error:
        successful = complain(error, run.error_log)
    if sweep and leads():
        sweep.tell(run)
    return successful


def _let_ctrl_c_raise() -> None:
    """Let Ctrl-C be caught from here on, since now there is work to keep; until here it ends the program at once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@piped()
def main() -> None:
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, instead of being printed as tracebacks
    sweep, done, stop, successful = None, [], None, False
    try:
        sweep = planned_sweep()
        if sweep and any(sweep.jobs):
            _let_ctrl_c_raise()
            submit([(job, run) for job, (_, run) in zip(sweep.jobs, sweep.runs, strict=True)], sweep.folder / "jobs")
        elif isinstance(sweep, Search):
            done.append(sweep.run_trials(lambda run: carry_out(run, sweep)))
        elif sweep and not sweep.by_plugin:
            done.extend(carry_out(run, sweep) for _, run in sweep.runs)
        else:
            if sweep:  # a plugin's processes are ended with this one
                _let_ctrl_c_raise()
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(
                lambda config: done.append(run_composed(config, sweep))
            )()
        successful = all(done)
    except (HydraException, OmegaConfBaseException) as error:
        complain(refused(error))
    except BrokenPipeError:  # nobody reads any more
        raise
    except OSError as error:  # of Hydra, which keeps a file of its own in a sweep's folder
        where = error.filename or (sweep.folder if sweep else ".")
        complain(UserError(f"{where} cannot be written ({error.strerror or error}): set sweeps_dir or free space."))
    except Interrupted as error:
        stop = error
    except KeyboardInterrupt:  # before a run is begun, or while jobs are waited for
        stop = Interrupted(signal.SIGINT)
    except Exception as error:
        complain(error)
    if sweep:
        try:
            successful = sweep.show() and successful
        except UserError as error:
            successful = complain(error)
    if stop:
        if leads():
            print(stop, file=sys.stderr)
        sys.exit(stop.code)
    if not successful:
        sys.exit(1)
