"""What a run's job asks its cluster for, checked against what the run itself wants. Torch is not imported here."""

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ensembles.errors import UserError, reason

OmegaConf.register_new_resolver("times", lambda a, b: a * b, replace=True)
OmegaConf.register_new_resolver("gpus", lambda accelerator, n: None if accelerator == "cpu" else n, replace=True)

AGREE = {"nodes": "num_nodes", "tasks_per_node": "devices", "gpus_per_node": "devices"}
CLUSTERS = {"submitit.SlurmExecutor": "slurm", "submitit.LocalExecutor": "local"}
MEMORY = ("mem_gb", "mem_per_gpu", "mem_per_cpu")
FOREIGN = ("submitit_folder", "stderr_to_stdout")  # Hydra adds them where hydra-submitit-launcher is installed too


def job_settings(config: DictConfig) -> dict | None:
    """The settings of the run's job, or None if the run is no job of a cluster.

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
