"""Several processes on one machine, started by a function, that end together. Torch is not imported here."""

import ctypes
import errno
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess

from ensembles.errors import Interrupted, UserError
from ensembles.signals import INTERRUPTION

PR_SET_PDEATHSIG = 1  # of prctl(2)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)
NO_ROOM = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOSYS}
POLL = 0.2  # seconds
PATIENCE = 10  # seconds that processes have to end by themselves when another one has failed


def end_with_parent() -> None:
    """Have Linux kill this process as soon as the one that started it has ended, however and whenever that did."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # before it was asked for, so no signal will come
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def starting(instead: str) -> Iterator[None]:
    """Turn the lack of room for their locks, which are in shared memory, into a sentence.

    Args:
        instead: what does without these processes, as the end of the sentence.

    Raises:
        UserError: what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or error.filename is not None:
            raise
        raise UserError(
            f"/dev/shm has no room for what several processes share ({error.strerror}): make it larger (Docker's "
            f"--shm-size=1g), or {instead}."
        ) from error


def keep_freed_memory() -> None:
    """Have glibc keep large blocks for the next step: on the CPU a step takes a tenth to a fifth less time.

    Without this each is handed back to the system, and faulted in anew. With another C library nothing changes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def started_by_srun() -> bool:
    """Tell whether this is one of several tasks of a SLURM job; SLURM_NTASKS is there around the job's srun, too."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def started_by_others() -> bool:
    """Tell whether this is one of several processes that srun, torchrun or `launch` has started."""
    return "LOCAL_RANK" in os.environ or started_by_srun()


def require_other_nodes(num_nodes: int) -> None:
    """See that a run on several machines is not to wait for processes that nothing starts there.

    Raises:
        UserError: this process was started alone.
    """
    if num_nodes > 1 and not started_by_others():
        raise UserError(
            f"trainer.num_nodes={num_nodes} would wait for processes on other machines that nothing has started: start "
            "the command by srun or torchrun there, or submit it by -m hydra/launcher=submitit_slurm."
        )


def leads() -> bool:
    """Tell whether this process is the first of its group, which owns the run's folder."""
    return os.environ.get("SLURM_PROCID" if started_by_srun() else "RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def launch(work: Callable, arguments: tuple, processes: int) -> None:
    """Call ``work(*arguments)`` in so many processes that Lightning takes for one group; returns when all have ended.

    Raises:
        Interrupted: a signal has ended them; one that comes to this process is handed on to them.
        UserError: a process has been killed; the others are ended.
        Exception: what the first process to fail raised; likewise.
    """
    if processes == 1 or started_by_others():
        work(*arguments)
        return
    context = multiprocessing.get_context("spawn")
    with starting(instead="set trainer.devices=1"):
        errors = context.SimpleQueue()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # a free one
    order = pickle.dumps((work, arguments))  # opened by the child, as it imports torch, which takes seconds
    group = [
        context.Process(target=_child, args=(rank, processes, port, errors, order), daemon=False)
        for rank in range(processes)
    ]
    patience, found = 0, []
    try:
        with INTERRUPTION.released():
            INTERRUPTION.hold()
            with _without_ctrl_c():
                for process in group:
                    process.start()
            codes = _wait(group, errors, found)
            if INTERRUPTION.signum is not None and found:
                raise found[0]
        patience = PATIENCE
    finally:
        _end(group, patience)
    killed = [-code for code in codes if code is not None and code < 0]
    if killed:
        raise UserError(
            f"A process of this run was killed ({signal.Signals(killed[0]).name}), often for lack of memory: the same "
            "command goes on from the last checkpoint, also with another trainer.devices."
        )
    if found:
        raise found[0]
    if any(codes):
        raise RuntimeError(f"A process of this run ended by itself (exit codes {codes}).")


def _wait(group: list[BaseProcess], errors, found: list[BaseException]) -> list[int | None]:
    """Give the exit codes as soon as all processes have ended or one has failed, and move their errors to ``found``."""
    told = False
    while True:
        if INTERRUPTION.signum is not None and not told:
            told = True
            for process in group:
                process.terminate()
        codes = [process.exitcode for process in group]
        while not errors.empty():  # what fills the pipe would keep its process from ending
            found.append(errors.get())
        alive = [process.sentinel for process, code in zip(group, codes, strict=True) if code is None]
        if not alive or (any(codes) and not told):
            return codes
        multiprocessing.connection.wait(alive, POLL)


def _end(group: list[BaseProcess], patience: float) -> None:
    """End what still runs: by a signal, and after so many seconds by force."""
    started = [process for process in group if process.pid is not None]
    deadline = time.monotonic() + patience
    for process in started:
        process.terminate()
    for process in started:
        process.join(max(0, deadline - time.monotonic()))
        process.kill()
        process.join()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Start processes that notice no Ctrl-C until they listen to it; this one is asked to end them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _child(rank: int, processes: int, port: int, errors, order: bytes) -> None:
    end_with_parent()
    os.environ |= {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        with INTERRUPTION.listening():
            work, arguments = pickle.loads(order)
            if "OMP_NUM_THREADS" not in os.environ:
                import torch

                torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
            work(*arguments)
            distributed = sys.modules.get("torch.distributed")
            if distributed is not None and distributed.is_initialized():
                distributed.destroy_process_group()  # a process that just exits can abort in its threads
    except (Exception, Interrupted) as error:
        error.add_note(traceback.format_exc())
        errors.put(error)
        raise SystemExit(getattr(error, "code", 1)) from None
