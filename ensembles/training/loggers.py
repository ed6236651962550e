"""Where metrics go besides the run's folder. A logger never stops a run: that it fails is said in one sentence."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from ensembles.errors import reason
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
    """The loggers of a composed config; what else stands among them are their settings."""
    return [
        SafeLogger(name, logger, run)
        for name, logger in config.logger.items()
        if isinstance(logger, DictConfig) and "_target_" in logger
    ]


def publish(trainer: Trainer, results: Mapping) -> None:
    """Hand a finished run's results and plots to its loggers."""
    for logger in trainer.loggers:
        logger.publish(results, trainer.global_step)


def scalars(results: Mapping) -> dict[str, float]:
    """Flat results with the members' numbers one by one, without those of each single corruption."""
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
