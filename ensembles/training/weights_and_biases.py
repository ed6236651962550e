"""The run of Weights & Biases that belongs to a run's folder."""

import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path

import wandb
from pytorch_lightning.loggers import WandbLogger

from ensembles.errors import reason
from ensembles.files import write_text

UPLOAD = 300  # seconds to wait for the upload at a run's end; what is left stays in the folder


def weights_and_biases(
    save_dir: str,
    project: str,
    entity: str | None = None,
    tags: Sequence[str] = (),
    offline: bool = False,
    patience: float = 30,
) -> WandbLogger:
    """A logger whose W&B run has the folder's name as its id, so that a resumed run goes on with it.

    Without credentials or connection it logs offline, into the folder, from where ``wandb sync`` uploads.

    Args:
        save_dir: the run's folder.
        tags: besides the data set, the model and the method.
        patience: seconds to wait for the server.
    """
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
    """The folder's name; where the run was trained anew, with something that tells it from the earlier one's."""
    kept = folder / "wandb" / "id"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        again = folder.with_name(f"{folder.name}.previous").exists()
        write_text(kept, f"{folder.name}-{secrets.token_hex(2)}" if again else folder.name)
    return kept.read_text()
