"""What only a GPU can show: half precision, compilation and FSDP."""

import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.gpu
ON_GPU = ("trainer.accelerator=gpu", "method=mimo")


def results(where):
    (found,) = Path(where).glob("*/results.json")
    return json.loads(found.read_text())


@pytest.mark.parametrize(
    ("option", "tolerance"),
    {
        "trainer.precision=bf16-mixed": 0.05,
        "trainer.precision=16-mixed": 0.05,
        "runtime.compile=true": 1e-3,
        "runtime.channels_last=false": 1e-3,
        "strategy=fsdp": 1e-3,
    }.items(),
)
def test_it_trains_as_without(tiny, option, tolerance):
    assert tiny(*ON_GPU, "runs_dir=plain").code == 0
    ended = tiny(*ON_GPU, option, "runs_dir=other")
    assert ended.code == 0, ended.err
    assert results("other")["test/nll"] == pytest.approx(results("plain")["test/nll"], rel=tolerance)
    (checkpoint,) = Path("other").glob("*/last.ckpt")
    assert all(name.startswith("ensemble.") for name in torch.load(checkpoint, weights_only=True)["state_dict"])


def test_the_cpu_trains_as_the_gpu(tiny):
    assert tiny(*ON_GPU, "runs_dir=gpu").code == 0
    assert tiny(*ON_GPU, "trainer.accelerator=cpu", "runs_dir=cpu").code == 0
    assert results("gpu")["test/nll"] == pytest.approx(results("cpu")["test/nll"], rel=1e-3)
