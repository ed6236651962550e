"""Several processes on one machine, started by a function: nothing of the command line runs again in them."""

import multiprocessing
import multiprocessing.connection
import os
import socket
import traceback
from collections.abc import Callable


def started_outside() -> bool:
    """Whether something else (srun, torchrun) has started this process as one of several."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def launch(work: Callable, arguments: tuple, processes: int) -> None:
    """Call ``work(*arguments)`` in so many processes that Lightning takes for one group; returns when all have ended.

    Raises:
        Exception: what the first process to fail raised; the others are ended.
    """
    if processes == 1 or started_outside():
        work(*arguments)
        return
    context = multiprocessing.get_context("spawn")
    errors = context.SimpleQueue()
    port = _free_port()
    group = [
        context.Process(target=_child, args=(rank, processes, port, errors, work, arguments), daemon=False)
        for rank in range(processes)
    ]
    for process in group:
        process.start()
    try:
        _wait(group)
    finally:
        for process in group:
            process.terminate()
            process.join()
    if not errors.empty():
        raise errors.get()
    if any(process.exitcode for process in group):
        codes = ", ".join(str(process.exitcode) for process in group)
        raise RuntimeError(f"A process of this run died (exit codes {codes}).")


def _wait(group: list) -> None:
    alive = list(group)
    while alive:
        multiprocessing.connection.wait([process.sentinel for process in alive])
        alive = [process for process in alive if process.is_alive()]
        if any(process.exitcode for process in group if process not in alive):
            return


def _child(rank: int, processes: int, port: int, errors, work: Callable, arguments: tuple) -> None:
    os.environ |= {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    try:
        work(*arguments)
        _leave_group()
    except Exception as error:
        error.add_note(traceback.format_exc())
        errors.put(error)
        raise SystemExit(1) from None


def _leave_group() -> None:
    """End the processes' connections in order; a process that just exits can abort in their threads."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
