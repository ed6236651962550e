"""The memory that this process may use. Torch is not imported."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ensembles.errors import UserError

SHARE = 0.7  # of it that images or networks may take
GROUPS_OF_PROCESS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def require_room(needed: int, what: str, instead: str) -> None:
    """Check that so many bytes fit into memory.

    Args:
        what: takes them, as the beginning of the error's sentence.
        instead: what to do, as its end.

    Raises:
        UserError: they are more than 70 % of `usable_memory`.
    """
    present = usable_memory()
    if needed > SHARE * present:
        raise UserError(
            f"{what} take {needed / 2**30:,.1f} GiB, and this process may use {present / 2**30:,.1f} GiB of memory: "
            f"{instead}."
        )


def usable_memory() -> int:
    """Count the bytes that this process may use: the machine's, or fewer in a container or a cluster's job."""
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits()])


def _limits() -> Iterator[int]:
    """Read the limits of the process's control group and of those that it is in, of version 1 or 2."""
    lines: list[str] = []
    with suppress(OSError):  # Linux alone has control groups
        lines = GROUPS_OF_PROCESS.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root, name = (GROUPS / "memory", "memory.limit_in_bytes") if controllers else (GROUPS, "memory.max")
        if controllers and "memory" not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        for place in (group, *group.parents):
            try:
                limit = int((root / place / name).read_text())
            except (OSError, ValueError):  # not mounted in this container, or "max" for no limit
                continue
            yield limit
