"""Memory that runs out, on a device or not, says what to lower."""

import pytest
import torch

from ensembles import memory
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


@pytest.mark.parametrize(
    ("groups", "limits", "usable"),
    [
        ("0::/job_1/step_0/user", {"job_1/memory.max": "2000", "job_1/step_0/memory.max": "max"}, 2000),
        ("0::/", {"memory.max": "3000"}, 3000),
        ("5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/", {"memory/a/memory.limit_in_bytes": "4000"}, 4000),
        ("4:memory:/docker/x", {"memory/memory.limit_in_bytes": "5000"}, 5000),  # as seen from within
        ("4:memory:/", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, 10_000),
        ("0::/user.slice", {}, 10_000),
        (None, {}, 10_000),
    ],
)
def test_a_job_or_container_has_less_memory_than_the_machine(tmp_path, monkeypatch, groups, limits, usable):
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 1000}.get)
    monkeypatch.setattr(memory, "GROUPS_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "fs")
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups + "\n")
    for place, limit in limits.items():
        (tmp_path / "fs" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / place).write_text(limit + "\n")
    assert memory.usable_memory() == usable
    memory.require_room(int(0.7 * usable), "Images", "set fewer")
    with pytest.raises(UserError, match=r"^Images take 0\.0 GiB, and this process may use .* of memory: set fewer\.$"):
        memory.require_room(int(0.7 * usable) + 1, "Images", "set fewer")
