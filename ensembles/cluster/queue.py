"""What SLURM says of jobs. Its accounting is not asked: not every cluster has one."""

import re
import subprocess


def queued() -> set[str] | None:
    """The ids of the user's jobs that wait, run or end just now, those of arrays as ``5_2``; None without an answer."""
    try:
        answer = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format=%i"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(answer.stdout.split()) if answer.returncode == 0 else None


def described(job: str) -> dict[str, str]:
    """What ``scontrol show job`` tells, such as JobState and PreemptTime; empty for a job that SLURM does not know."""
    try:
        answer = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"(\w+)=(\S+)", answer.stdout))
