"""Strided 1x1 convolutions on a CPU without AVX-512, where torch's own, in channels-last order, end the process."""

import copy
import os
import subprocess
import sys

import torch
from torch import nn

from ensembles.methods.layers import channels_last

TRAINED = """
import torch
from torch import nn
from ensembles.methods.layers import channels_last

print(torch.backends.cpu.get_cpu_capability())
for channels in (1, 3, 4, 8) * 6:
    network = channels_last(nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, stride=2)))
    network(torch.randn(8, channels, 32, 32).to(memory_format=torch.channels_last)).sum().backward()
"""


def test_such_a_cpu_trains_them():
    """Any CPU can act as one; the check of the heap shows what would else be seen only at times."""
    older = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1", "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", TRAINED], env=os.environ | older, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "AVX2\n"), done.stderr


def test_they_compute_the_same(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 9)
    network = nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.Conv2d(4, 4, 1, stride=(1, 3), padding=1))
    expected = network(x)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    for _ in range(2):
        torch.testing.assert_close(channels_last(network)(x), expected)
    torch.testing.assert_close(copy.deepcopy(network)(x), expected)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last) and network[0].stride == (1, 1)
