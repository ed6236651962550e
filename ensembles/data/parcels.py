"""Batches on their way between processes: images in shared memory where that has room for them, else through a pipe.

A loader of torch's puts all tensors into shared memory, and where one does not fit it waits for it for ever.
"""

import io
import os
import pickle
from typing import NamedTuple

import torch
from torch import Tensor

SHARED_MEMORY = "/dev/shm"
RESERVE = 2**20  # bytes of it that are left to others


class Parcel(NamedTuple):
    """A batch, or whatever came of it.

    Attributes:
        content: pickled, without the images where they are in shared memory.
        pixels: the images, if they are.
    """

    content: bytes
    pixels: Tensor | None = None


def pack(batch: object) -> Parcel:
    """The batch with its images in shared memory, if it has any and they fit."""
    pixels = getattr(batch, "pixels", None)
    if pixels is not None and _shared(pixels):
        return Parcel(_pickled(batch._replace(pixels=None)), pixels)
    return Parcel(_pickled(batch))


def unpack(parcel: Parcel) -> object:
    """What was packed."""
    content, pixels = parcel
    batch = pickle.loads(content)
    return batch if pixels is None else batch._replace(pixels=pixels)


def _shared(pixels: Tensor) -> bool:
    """Whether the tensor has been moved into shared memory."""
    try:
        free = os.statvfs(SHARED_MEMORY)
        if free.f_bavail * free.f_frsize < pixels.nbytes + RESERVE:
            return False
    except OSError:  # a system that has it elsewhere, or not at all
        pass
    try:
        pixels.share_memory_()
    except RuntimeError:  # another process was faster
        return False
    return True


class _Pickler(pickle.Pickler):
    """Pickles a tensor as its numbers; torch would add all those of which it is a part."""

    def reducer_override(self, value: object):
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def _pickled(value: object) -> bytes:
    content = io.BytesIO()
    _Pickler(content, protocol=5).dump(value)
    return content.getvalue()
