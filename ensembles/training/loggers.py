"""Where metrics go besides the run's folder. A logger never stops a run: that it fails is said in one sentence."""

import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from ensembles.errors import reason
from ensembles.files import write_text
from ensembles.runs import Run


class SafeLogger(Logger):
    """A logger of a config, which only process 0 makes; after its first failure it is left alone.

    Args:
        name: what the config calls it.
        config: its ``_target_`` and settings.
        run: the run whose metrics, config, results and plots it is to log.
    """

    def __init__(self, name: str, config: DictConfig, run: Run) -> None:
        super().__init__()
        self._name, self._config, self._run = name, config, run
        self._logger: Logger | None = None
        self._failed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._run.folder.name

    @property
    @rank_zero_experiment
    def experiment(self) -> object:
        return self._try(lambda logger: logger.experiment)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping, *args, **kwargs) -> None:
        self._try(lambda logger: logger.log_hyperparams(params, *args, **kwargs))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._try(lambda logger: logger.log_metrics(metrics, step))

    @rank_zero_only
    def save(self) -> None:
        self._try(lambda logger: logger.save())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self._try(lambda logger: logger.finalize(status))

    @rank_zero_only
    def publish(self, results: Mapping, step: int) -> None:
        """Log a finished run's results and plots, and close the logger."""
        self.log_metrics(scalars(results), step)
        for plot in sorted(self._run.folder.glob("*.png")):
            self._try(lambda logger, plot=plot: _log_image(logger, f"plots/{plot.stem}", plot, step))
        self._try(_close)

    def _try(self, act: Callable[[Logger], object]) -> object:
        if self._failed:
            return None
        try:
            if self._logger is None:
                self._logger = instantiate(self._config, save_dir=str(self._run.folder))
                self._logger.log_hyperparams(self._run.config)
            return act(self._logger)
        except Exception as error:
            self._failed = True
            why = reason(error.__cause__ or error)
            warnings.warn(f"logger={self._name} failed ({why}), and the run goes on without it.", stacklevel=1)
            return None


def make_loggers(config: DictConfig, run: Run) -> list[SafeLogger]:
    """Make the loggers of a composed config; what else stands among them are their settings."""
    return [
        SafeLogger(name, logger, run)
        for name, logger in config.logger.items()
        if isinstance(logger, DictConfig) and "_target_" in logger
    ]


def scalars(results: Mapping) -> dict[str, float]:
    """Flatten results to the members' numbers one by one, without those of each single corruption."""
    found = {}
    for key, value in results.items():
        if key.startswith("corrupted/") and key.count("/") > 1:
            continue
        values = {f"{key}/{m}": number for m, number in enumerate(value)} if isinstance(value, list) else {key: value}
        found |= {name: number for name, number in values.items() if isinstance(number, int | float)}
    return found


def _log_image(logger: Logger, name: str, path: Path, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        import matplotlib.image

        logger.experiment.add_image(name, matplotlib.image.imread(path)[..., :3], step, dataformats="HWC")
    elif hasattr(logger, "log_image"):
        logger.log_image(name, [str(path)], step)


def _close(logger: Logger) -> None:
    finish = getattr(logger.experiment, "finish", None) or getattr(logger.experiment, "close", None)
    if finish:
        finish()


UPLOAD = 300  # seconds to wait for the upload at a run's end; what is left stays in the folder


def weights_and_biases(
    save_dir: str,
    project: str,
    entity: str | None = None,
    tags: Sequence[str] = (),
    offline: bool = False,
    patience: float = 30,
) -> WandbLogger:
    """Make a logger whose W&B run has the folder's name as its id, so that a resumed run goes on with it.

    Without credentials or connection it logs offline, into the folder, from where ``wandb sync`` uploads.

    Args:
        save_dir: the run's folder.
        tags: besides the data set, the model and the method.
        patience: seconds to wait for the server.
    """
    import wandb

    folder = Path(save_dir)
    wandb.setup(wandb.Settings(silent=True))  # it would ask for a key at a terminal, and wait
    about = {
        "project": project,
        "entity": entity,
        "name": folder.name,
        "id": _id(folder),
        "tags": [*folder.name.split("-")[:-1], *tags],
        "dir": save_dir,
    }
    settings = {"silent": True, "console": "off", "reinit": "finish_previous", "finish_timeout": UPLOAD}
    if offline:  # one sentence for all runs of a sweep
        everywhere = folder.parent / "*" / "wandb" / "offline-run-*"
        warnings.warn(f"W&B logs offline: wandb sync {everywhere} uploads it.", stacklevel=1)
    run = None if offline else _online(about, settings | {"init_timeout": patience})
    if run is None:
        run = wandb.init(**about, mode="offline", settings=wandb.Settings(**settings))
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(save_dir=save_dir, project=project, experiment=run)


def _online(about: dict, settings: dict):
    import wandb

    try:
        return wandb.init(**about, resume="allow", settings=wandb.Settings(**settings))
    except Exception as error:  # of many kinds: no key, no connection, no such entity
        wandb.teardown()  # or the id would still be in use
        warnings.warn(
            f"W&B cannot be reached ({reason(error)}), so this run is logged offline: "
            f"wandb sync {about['dir']}/wandb/offline-run-* uploads it.",
            stacklevel=1,
        )
        return None


def _id(folder: Path) -> str:
    """Name the W&B run as the folder; where it was trained anew, with something that tells it from the earlier one."""
    kept = folder / "wandb" / "id"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        again = folder.with_name(f"{folder.name}.previous").exists()
        write_text(kept, f"{folder.name}-{secrets.token_hex(2)}" if again else folder.name)
    return kept.read_text()
