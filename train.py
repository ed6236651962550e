"""Train, test and report one ensemble: ``python train.py method=packed model=resnet50 data=cifar100``."""

import signal
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ensembles.cli import CONFIGS, complain
from ensembles.cli.arguments import planned
from ensembles.cli.as_trained import as_trained
from ensembles.cli.config import checked
from ensembles.cli.going_on import go_on
from ensembles.cli.program import piped
from ensembles.cluster.submission import submit
from ensembles.errors import Interrupted, UserError
from ensembles.runs import Run
from ensembles.training.launch import leads


def job(config: DictConfig) -> bool:
    """Show a configuration's results, after going on with its run until there are some; returns whether there are."""
    run = None
    try:
        of_hydra = HydraConfig.get()
        config, choices = as_trained(config, of_hydra.runtime.choices, of_hydra.overrides.task)
        run = Run.of(checked(config), choices)
        if config.force and leads():
            run.set_aside()
    except Exception as error:
        return complain(error, run)
    return go_on(run)


@piped()
def main() -> None:
    sweep = planned()
    done, stop = [], None
    try:
        if sweep and any(sweep.jobs):
            submit(sweep)
        else:
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(
                lambda config: done.append(job(config))
            )()
    except UserError as error:
        complain(error)
    except Interrupted as error:
        stop = error
    except KeyboardInterrupt:  # before a run is begun, or while jobs are waited for
        stop = Interrupted(signal.SIGINT)
    successful = sweep.show() if sweep else all(done)
    if stop:
        if leads():
            print(stop, file=sys.stderr)
        sys.exit(stop.code)
    if not successful:
        sys.exit(1)


if __name__ == "__main__":
    main()
