"""What only a GPU can show: half precision, compilation, FSDP, and that no step waits for it."""

import json
from pathlib import Path

import pytest
import torch

from ensembles.training.callbacks import Losses, SeededSteps

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


@pytest.mark.parametrize("method", ["packed", "batch_ensemble", "mixture", "deep_ensemble"])
def test_the_forms_train_alike(tiny, method):
    asked = ("trainer.accelerator=gpu", f"method={method}", "method.M=4")
    if method == "mixture":
        asked += ("method.grouping=flat",)
    for form in ("loop", "grouped"):
        ended = tiny(*asked, f"runtime.form={form}", f"runs_dir={form}")
        assert ended.code == 0, ended.err
    assert results("grouped")["test/nll"] == pytest.approx(results("loop")["test/nll"], rel=1e-3)


@pytest.mark.parametrize("method", ["deterministic", "packed", "batch_ensemble", "mimo", "dropout"])
def test_no_step_waits_between_two_looks_at_the_loss(tiny, monkeypatch, method):
    """From the second step on: the first one looks up algorithms and moves the images."""
    start, look = SeededSteps.on_train_batch_start, Losses.look

    def starting(self, trainer, module, batch, batch_idx):
        start(self, trainer, module, batch, batch_idx)
        if batch_idx:
            torch.cuda.set_sync_debug_mode("error")

    def looking(self, trainer):
        torch.cuda.set_sync_debug_mode("default")
        look(self, trainer)

    monkeypatch.setattr(SeededSteps, "on_train_batch_start", starting)
    monkeypatch.setattr(Losses, "look", looking)
    ended = tiny("trainer.accelerator=gpu", f"method={method}", "recipe.epochs=1")
    assert ended.code == 0, ended.err
