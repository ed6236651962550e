"""Where a result comes from: command, seed, commit, machine, versions, duration."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from ensembles.runs import Run


def provenance(run: Run, seconds: dict[str, float]) -> dict:
    """Plain data for provenance.json; ``seconds`` are the durations to report."""
    return {
        "command": " ".join(["python", *sys.argv]) if sys.argv[0] else None,
        "seed": run.config["seed"],
        "evaluation": run.evaluation,
        "commit": _commit(),
        "hardware": hardware(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "pytorch-lightning", "torchmetrics")},
        "python": platform.python_version(),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def hardware() -> str:
    """The processor or GPU that computes, in words."""
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
