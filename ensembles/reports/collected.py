"""A study's collected runs, runs.json, as what comes after a study reads them. Imports no torch."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ensembles.errors import UserError, reason
from ensembles.files import load_text

RUNS = "runs.json"


class CollectedRun(BaseModel):
    """An entry of runs.json.

    Attributes:
        settings: the row's method, model, recipe and data.
        seconds: of training and test.
    """

    model_config = ConfigDict(strict=True)

    method: str | None = None
    row: str
    seed: int
    settings: dict = {}
    commit: str | None = None
    command: str | None = None
    hardware: str | None = None
    seconds: dict[str, float | None] = {}
    results: dict[str, float | int | list[float] | None]


def collected_runs(folder: Path) -> dict[str, dict[int, CollectedRun]]:
    """Read a study's runs, by row and seed; none where it has no runs.json.

    Raises:
        UserError: a damaged file, or a row with a seed twice.
    """
    path = folder / RUNS
    rows: dict[str, dict[int, CollectedRun]] = {}
    if not path.is_file():
        return rows
    try:
        runs = TypeAdapter(list[CollectedRun]).validate_json(load_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ", ".join(str(step + 1) if isinstance(step, int) else step for step in first["loc"])
        wrong = f"{', run ' if where else ''}{where}: {first['msg'].rstrip('.')}"
        raise UserError(f"{path}{wrong}: mend it or collect the runs again.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): mend it or collect the runs again.") from error
    for run in runs:
        if run.seed in rows.setdefault(run.row, {}):
            raise UserError(f"{path}: {run.row} has seed {run.seed} twice: delete one of the two runs.")
        rows[run.row][run.seed] = run
    return rows
