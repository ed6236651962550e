"""Train, test and report one ensemble, or with -m several.

ensembles train method=packed model=resnet50 data=cifar100
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ensembles.cli import piped
from ensembles.cli.arguments import planned_sweep
from ensembles.cli.as_trained import as_trained
from ensembles.cli.composing import checked, refused
from ensembles.cli.search import Search
from ensembles.cluster.submission import submit
from ensembles.errors import Interrupted, UserError, complain
from ensembles.experiment import run_experiment
from ensembles.processes import leads
from ensembles.recipes import CONFIGS
from ensembles.runs import Run
from ensembles.sweeps import Sweep


def job(config: DictConfig, sweep: Sweep | None) -> bool:
    """Show a configuration's results, after running what is left of it; returns whether there are any.

    Args:
        sweep: that it is of, which has a line for each run.
    """
    run = None
    try:
        of_hydra = HydraConfig.get()
        config, choices = as_trained(config, of_hydra.runtime.choices, of_hydra.overrides.task)
        run = Run.of(checked(config), choices)
        if config.force and leads():
            run.set_aside()
        run_experiment(run, brief=sweep is not None)
        successful = True
    except Exception as error:
        successful = complain(error, run and run.error_log)
    if run and sweep and leads():
        sweep.tell(run)
    return successful


def alone(compose_and_run: Callable[[], None], done: list[bool], overrides: list[str]) -> bool:
    """Run one run of a search as if the command line had only its overrides; returns whether there are results."""
    given = get_args_parser().parse_args()
    folder = ["--config-dir", given.config_dir] if given.config_dir else []
    before, sys.argv = sys.argv, [sys.argv[0], *folder, *overrides]
    try:
        compose_and_run()
    except (HydraException, OmegaConfBaseException) as error:
        done.append(complain(refused(error)))
    finally:
        sys.argv = before
    return done[-1]


@piped()
def main() -> None:
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here, instead of being printed as tracebacks
    sweep, done, stop, successful = None, [], None, False
    try:
        sweep = planned_sweep()
        if sweep and any(sweep.jobs):
            submit([(job, run) for job, (_, run) in zip(sweep.jobs, sweep.runs, strict=True)], sweep.folder / "jobs")
        else:
            compose_and_run = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(
                lambda config: done.append(job(config, sweep))
            )
            if isinstance(sweep, Search):
                sweep.run_trials(partial(alone, compose_and_run, done))
            else:
                compose_and_run()
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
