"""Memory that runs out, on a device or not, says what to lower."""

import pytest
import torch

from ensembles.errors import UserError, explained
from tests.faults.experiments import RUN

LIMITED = """
import resource
pages = int(open("/proc/self/statm").read().split()[0])
used = pages * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000, -1))
"""


def test_out_of_memory(zygote, tmp_path):
    """A batch whose activations do not fit into what a process may have."""
    large = ("data.image_size=96", "data.train_size=900", "recipe.batch_size=900", "method.M=4")
    started = zygote.start(*RUN, *large, folder=tmp_path, before=LIMITED)
    assert started.wait() == 1
    (said,) = started.said.strip().splitlines()
    assert said.startswith("error: There is not enough memory") and "set a smaller recipe.batch_size" in said


def test_out_of_a_devices_memory():
    with pytest.raises(UserError, match=r"not enough memory \(CUDA out of memory.*method\.M"), explained():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught, explained():
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not isinstance(caught.value, UserError)
