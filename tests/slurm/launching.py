"""A sweep's command whose runs are jobs, and what a test does to them meanwhile."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

TRAIN = Path(__file__).parents[2] / "train.py"
# A network of the user's own that says which steps it has seen and takes its time over each, so that a job can be
# caught in the middle of its work without keeping a core busy.
NETWORK = """
import os
import time

from torch import nn


class Slow(nn.Sequential):
    def forward(self, x):
        if self.training and "SUBMITIT_EXECUTOR" in os.environ:
            turn = int(os.environ.get("SLURM_RESTART_COUNT", 0))
            time.sleep(float((os.environ["SECONDS_A_STEP"].split(",") + ["0"] * 10)[turn]))
            job = os.environ.get("SLURM_JOB_ID") or os.environ["SUBMITIT_LOCAL_JOB_ID"]
            with open(f"steps-{job}-{os.environ.get('SLURM_PROCID', 0)}", "a") as file:
                file.write(".")
        return super().forward(x)


def network(num_classes, in_channels, image_size, dropout):
    inputs = in_channels * image_size**2
    return Slow(nn.Flatten(), nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, num_classes))
"""
OWN = ["--config-dir", "conf"]
SETTINGS = [
    *("model=slow", "method=deterministic", "data.train_size=320", "data.val_fraction=0.1"),
    *("data.corrupted.source=null", "trainer.accelerator=cpu", "runtime.progress=false"),
]


class Launching:
    """A started ``python train.py -m hydra/launcher=...``.

    Args:
        seconds_a_step: for each of a job's turns how long a step takes, 0 for further turns.
    """

    def __init__(self, folder: Path, seconds_a_step: str, *arguments: str, launcher: str = "submitit_slurm") -> None:
        command = [sys.executable, str(TRAIN), *OWN, "-m", f"hydra/launcher={launcher}", *SETTINGS, *arguments]
        environment = os.environ | {"SECONDS_A_STEP": seconds_a_step, "COLUMNS": "200"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.folder = folder
        self.process = subprocess.Popen(command, cwd=folder, env=environment, **pipes)

    def run(self, seed: int) -> Path:
        """The folder of the sweeps' run with this seed."""

        def found() -> list[Path]:
            indices = [json.loads(path.read_text()) for path in self.folder.glob("sweeps/*/index.json")]
            runs = [run for index in indices for run in index["runs"] if run["config"]["seed"] == seed]
            return [self.folder / run["folder"] for run in runs]

        until(found, f"sweep with seed={seed}")
        return found()[0]

    def job(self, run: Path) -> str:
        until((run / "job.json").exists, f"a job of {run.name}")
        return json.loads((run / "job.json").read_text())["id"]

    def steps(self, run: Path) -> int:
        """How many training steps the run's job has taken in all its turns."""
        job = self.job(run)
        number = shown(job)["JobId"] if "_" in job else job  # SLURM numbers an array's jobs too
        path = self.folder / f"steps-{number}-0"
        return path.stat().st_size if path.exists() else 0

    def caught(self, run: Path, step: int) -> str:
        """The run's job, as soon as it has taken so many steps."""
        until(lambda: self.steps(run) >= step, f"step {step} of {run.name}")
        return self.job(run)

    def ended(self) -> tuple[int, str]:
        """The command's exit code and what it has printed."""
        out, _ = self.process.communicate(timeout=240)
        return self.process.returncode, out


def shown(job: str) -> dict[str, str]:
    """What SLURM shows of a job."""
    text = slurm("scontrol", "show", "job", job)
    return dict(field.split("=", 1) for field in text.split() if "=" in field)


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(condition, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"there was no {what} within {seconds} seconds"
        time.sleep(0.1)


def assert_same(run: Path, other: Path) -> None:
    """The same weights, optimiser and history to the last bit."""
    ours, theirs = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (run, other))
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    torch.testing.assert_close(ours["optimizer_states"], theirs["optimizer_states"], rtol=0, atol=0)
    assert (run / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
