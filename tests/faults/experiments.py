"""Faults that hit a run at random moments, each caused for real, and what is lost when the run has ended after them.

Each experiment is a function of a `Bench`, a random generator and an empty folder; it brings a run to its end through
the fault and returns how often the fault struck.
"""

import csv
import json
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.faults.zygote import Started, Zygote

RUN = (
    "model=small_cnn",
    "data.train_size=200",
    "data.corrupted.source=null",
    "recipe.epochs=4",
    "recipe.batch_size=10",
    "trainer.accelerator=cpu",
    "runtime.progress=false",
    "runtime.save_minutes=0",
)
WHERE_WRITING_ENDS = {  # code that a process runs first, to be killed while it writes its n-th checkpoint
    "half of the file is written": "path.endswith('.last.ckpt') and os.truncate(fd, os.fstat(fd).st_size // 2) is None",
    "before the last one is kept as the one before": "call == 'link' and path.endswith('previous.ckpt')",
    "before the new one is moved into place": "call == 'replace' and path.endswith('/last.ckpt')",
}
KILL_IN_WRITING = """
import os, signal
left = {n}
def watched(call, real):
    def act(*arguments):
        global left
        fd = arguments[0] if call == 'fsync' else None
        path = os.readlink(f'/proc/self/fd/{{fd}}') if call == 'fsync' else str(arguments[1])
        if path.endswith('.last.ckpt') and call == 'fsync':
            left -= 1
        if left <= 0 and ({when}):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    return act
for call in ('fsync', 'link', 'replace'):
    setattr(os, call, watched(call, getattr(os, call)))
"""


@dataclass
class Bench:
    """What the experiments share: a run that nothing disturbs, and how long it takes.

    Attributes:
        zygote: starts processes.
        folder: of the undisturbed run.
        seconds: that it takes.
    """

    zygote: Zygote
    folder: Path
    seconds: float = 0

    def undisturbed(self) -> "Bench":
        """Run it, twice, since the first of a process that is forked takes longer."""
        for _ in range(2):
            begin = time.monotonic()
            self.run(self.folder, "force=true")
            self.seconds = time.monotonic() - begin
        return self

    def start(self, folder: Path, *arguments: str, **settings) -> Started:
        return self.zygote.start(*RUN, *arguments, folder=folder, **settings)

    def run(self, folder: Path, *arguments: str, **settings) -> str:
        """Let the run go on to its end; returns what it said."""
        started = self.start(folder, *arguments, **settings)
        assert started.wait() == 0, started.said
        return started.said

    def lost(self, folder: Path) -> list[str]:
        """What differs in a finished run from the undisturbed one: weights, results, metrics."""
        return differences(only(self.folder), only(folder))


def only(folder: Path) -> Path:
    """The one run's folder."""
    (found,) = (path for path in (folder / "runs").iterdir() if path.suffix != ".previous")
    return found


def differences(one: Path, other: Path) -> list[str]:
    """The files in which two runs are not the same to the last bit."""
    found = []
    for name in {path.name for run in (one, other) for path in run.glob("*.ckpt")} - {"previous.ckpt"}:
        weights, others = (torch.load(run / name, weights_only=True)["state_dict"] for run in (one, other))
        if weights.keys() != others.keys() or not all(torch.equal(weights[key], others[key]) for key in weights):
            found.append(name)
    if results(one) != results(other):
        found.append("results.json")
    if metrics(one) != metrics(other):
        found.append("metrics.csv")
    return found


def results(run: Path) -> dict:
    """A run's results but for measured times."""
    values = json.loads((run / "results.json").read_text())
    return {key: value for key, value in values.items() if not key.startswith("cost/")}


def metrics(run: Path) -> list[dict]:
    with open(run / "metrics.csv") as file:
        return list(csv.DictReader(file))


def epochs_of(run: Path) -> int:
    """How many epochs have been written down."""
    return len(metrics(run)) if (run / "metrics.csv").exists() else 0


def kill(bench: Bench, chance: random.Random, folder: Path, most: int = 10**9) -> int:
    """SIGKILL at random moments, until the run has ended all the same."""
    for killed in range(most):
        started = bench.start(folder)
        time.sleep(chance.uniform(0, bench.seconds))
        started.signal(signal.SIGKILL)
        if started.wait() == 0:
            return killed
    bench.run(folder)
    return most


def kill_in_writing(bench: Bench, chance: random.Random, folder: Path) -> int:
    """SIGKILL in the middle of writing a checkpoint, at each place where that leaves something else behind."""
    for when in WHERE_WRITING_ENDS.values():
        code = KILL_IN_WRITING.format(n=chance.randint(1, 20), when=when)
        assert bench.start(folder, before=code).wait() == -signal.SIGKILL
    bench.run(folder)
    return len(WHERE_WRITING_ENDS)


def truncate(bench: Bench, chance: random.Random, folder: Path) -> int:
    """The newest checkpoint cut at a random length; the one before is used."""
    interrupt(bench, chance, folder, signal.SIGTERM, finish=False)
    run = only(folder)
    size = (run / "last.ckpt").stat().st_size
    with open(run / "last.ckpt", "r+b") as file:
        file.truncate(chance.randrange(size))
    said = bench.run(folder)
    assert "last.ckpt" in said and "training goes on from previous.ckpt, the one before." in said, said
    return 1


def damage(bench: Bench, chance: random.Random, folder: Path) -> int:
    """Random bytes in the middle of the newest checkpoint, and the one before cut: training starts anew."""
    interrupt(bench, chance, folder, signal.SIGTERM, finish=False)
    run = only(folder)
    with open(run / "last.ckpt", "r+b") as file:
        file.seek(chance.randrange((run / "last.ckpt").stat().st_size - 5000))
        file.write(chance.randbytes(5000))
    with open(run / "previous.ckpt", "r+b") as file:
        file.truncate(chance.randrange((run / "previous.ckpt").stat().st_size))
    said = bench.run(folder)
    assert "training goes on from the start." in said, said
    return 1


def interrupt(bench: Bench, chance: random.Random, folder: Path, signum: int, finish: bool = True) -> int:
    """A signal at a random moment of the training: the run is saved and says so."""
    epochs = chance.randint(0, 2)  # of four
    started = bench.start(folder)
    started.until(lambda: list(folder.glob("runs/*/previous.ckpt")))
    started.until(lambda: epochs_of(only(folder)) >= epochs)
    time.sleep(chance.uniform(0, bench.seconds / 50))  # little, as other programs may have slowed the bench
    started.signal(signum)
    code = started.wait()
    assert code == 128 + signum, started.said
    assert started.said.strip().endswith("the same command goes on from there.") and "\n" not in started.said.strip()
    if finish:
        bench.run(folder)
    return 1


def terminate(bench: Bench, chance: random.Random, folder: Path) -> int:
    """SIGTERM at random moments of the training."""
    return interrupt(bench, chance, folder, signal.SIGTERM)


def ctrl_c(bench: Bench, chance: random.Random, folder: Path) -> int:
    """Ctrl-C at random moments of the training."""
    return interrupt(bench, chance, folder, signal.SIGINT)


def preempt(bench: Bench, chance: random.Random, folder: Path) -> int:
    """SIGUSR2, by which a cluster's launcher announces a preemption, at random moments of the training."""
    return interrupt(bench, chance, folder, signal.SIGUSR2)


def fill_disk(bench: Bench, chance: random.Random, folder: Path) -> int:
    """A disk of a random size that is too small for the run's checkpoints; then there is more room."""
    with small_disk(folder / "runs", chance.randrange(80_000, 400_000)) as (limit, grow):
        started = bench.start(folder, before=limit)
        assert started.wait() == 1, started.said
        assert re.search(r"error: .*ckpt cannot be written \((No space left on device|File too large)\)", started.said)
        assert "the same command goes on from the last checkpoint." in started.said
        assert len(started.said.strip().splitlines()) == 1, started.said
        grow()
        bench.run(folder)
        shutil.copytree(folder / "runs", kept := folder / "kept")
    (folder / "runs").rmdir()
    kept.rename(folder / "runs")
    return 1


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Mount a file system of so many bytes; yields code that its users run first, and what makes room.

    Where that is not allowed the code limits the size of files instead.
    """
    folder.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True
    ).returncode
    if not mounted:
        yield f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 4}, -1))", lambda: None
        return
    try:
        yield "", lambda: subprocess.run(["mount", "-o", "remount,size=99m", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
