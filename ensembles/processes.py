"""What processes need to be started together, besides memory. Torch is not imported here."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ensembles.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOSYS}


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
