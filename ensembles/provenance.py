"""Where a result comes from: command, seed, commit, machine, versions, duration."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from ensembles import __version__
from ensembles.runs import Run

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics")


def provenance(run: Run, seconds: dict[str, float], images: dict) -> dict:
    """Gather plain data for provenance.json, but for the evaluation, which is told with its results.

    Args:
        seconds: the durations to report.
        images: hashes of the images evaluated on, as `ensembles.data.files.fingerprint.image_hashes` has them.
    """
    return {
        "seed": run.config["seed"],
        "recipe": run.recipe,
        "images": images,
        **origin(seconds),
    }


def origin(seconds: dict[str, float]) -> dict:
    """Gather what this process ran with, whatever it computed."""
    return {
        "command": command(),
        "commit": _commit(),
        "hardware": hardware(),
        "versions": {"ensembles": __version__} | {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def command() -> str | None:
    """Give the command line; a program of this checkout is named from its root, files below here from here."""
    here = f"{Path.cwd()}/"
    program, *arguments = (word.replace(here, "") for word in sys.argv)
    if program.startswith("ensembles "):
        return " ".join([program, *arguments])
    path, root = Path(program).parent.resolve() / Path(program).name, Path(__file__).resolve().parents[1]
    if path.is_relative_to(root):
        program = path.relative_to(root).as_posix()
    return " ".join(["python", program, *arguments]) if program else None


def hardware() -> str:
    """Name the processor or GPU that computes."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
