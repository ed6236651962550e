"""Train, test and report one ensemble: ``python train.py method=packed model=resnet50 data=cifar100``."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ensembles.cli import CONFIGS, complain
from ensembles.cli.arguments import planned
from ensembles.cli.config import checked
from ensembles.reports import table
from ensembles.runs import Run
from ensembles.training.launch import launch


def job(config: DictConfig) -> bool:
    """Show a configuration's results, after going on with its run until there are some; returns whether there are."""
    run = None
    try:
        plain = checked(config)
        run = Run.of(plain, HydraConfig.get().runtime.choices)
        if config.force:
            run.set_aside()
        if run.results() is None:
            with run.opened():
                from ensembles.experiment import work  # imports torch, so only when there is work for it

                launch(work, (plain, run), config.trainer.devices)
        table.show(run.results(), run.folder)
        return True
    except Exception as error:
        return complain(error, run)


def main() -> None:
    sweep = planned()
    done = []
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(
        lambda config: done.append(job(config))
    )()
    if not (sweep.show() if sweep else all(done)):
        sys.exit(1)


if __name__ == "__main__":
    main()
