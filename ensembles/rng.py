"""Random numbers that follow from what they are for, not from what was drawn before them."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int | float | str) -> int:
    """Derive a 63-bit seed from every part of the key and from nothing else."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*key: int | float | str) -> torch.Generator:
    """Make a CPU generator for one purpose, such as ``generator(seed, "augment", epoch, step)``.

    Resuming needs no saved generator state, and every process draws the same numbers for the global batch.
    """
    return torch.Generator().manual_seed(seed_of(*key))


@contextmanager
def seeded(seed: int, with_torch: bool = True) -> Iterator[None]:
    """Have what Python, NumPy and torch draw follow from the seed, and nothing outside of it.

    Args:
        with_torch: whether torch's own generator too, which takes longer than all else.
    """
    ours, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[], enabled=with_torch):
        if with_torch:
            torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(numpys)
