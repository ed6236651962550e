"""A process that has the program imported and forks one that runs it at each order, so that a start takes no second."""

import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Zygote:
    """Starts ``python train.py`` in processes of their own."""

    def __enter__(self) -> "Zygote":
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def start(self, *arguments: str, folder: Path, env: dict[str, str] | None = None, before: str = "") -> "Started":
        """Begin a run with ``folder`` as its working directory.

        Args:
            before: Python that the process runs first.
        """
        number = len(list(folder.glob("said*.txt")))
        said = folder / f"said{number}.txt"
        said.touch()
        order = {"arguments": arguments, "folder": str(folder), "said": str(said), "env": env or {}, "before": before}
        return Started(self, self.ask({"start": order}), said)

    def ask(self, order: dict) -> int:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


class Started:
    """A run's process."""

    def __init__(self, zygote: Zygote, pid: int, file: Path) -> None:
        self.zygote, self.pid, self.file = zygote, pid, file

    @property
    def said(self) -> str:
        """What it printed, but for the recipe that a run names as it begins."""
        lines = self.file.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("recipe "))

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)  # it stays there, at least as a zombie, until it has been waited for

    def wait(self) -> int:
        """The exit code; negative for a signal that killed it."""
        return self.zygote.ask({"wait": self.pid})

    def until(self, ready, timeout: float = 120) -> None:
        """Wait for a condition."""
        end = time.monotonic() + timeout
        while not ready():
            assert time.monotonic() < end, self.said
            time.sleep(0.002)


def _serve() -> None:
    from ensembles import cost, evaluation, experiment  # noqa: F401
    from ensembles.commands import train  # noqa: F401
    from ensembles.training import resuming, trainer  # noqa: F401

    # plots and measured times are not compared, and take most of a run's time
    assert evaluation.save_plots and cost.measure
    evaluation.save_plots, cost.measure = lambda *_: None, lambda *_: {}
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _run(**order["start"])
        print(answer, flush=True)


def _run(arguments: list[str], folder: str, said: str, env: dict[str, str], before: str) -> None:
    """Never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        file = os.open(said, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(folder)
        os.environ |= env
        sys.argv = ["train.py", *arguments]
        exec(before, {})
        from ensembles.commands import train

        train.main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
