"""``trainer.precision``, ``runtime.compile`` and ``runtime.channels_last`` as a user types them."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from ensembles import cost
from ensembles.backbones import small_cnn
from ensembles.methods import Deterministic, Method
from ensembles.training.callbacks import Compiled
from ensembles.training.trainer import _require_precision
from tests.conftest import only


def test_half_precision_is_another_run(tiny, monkeypatch):
    """And one whose attention takes torch's fused kernel on no CPU."""
    fused, step = [], Method.training_step

    def training_step(self, batch):
        fused.append(torch.backends.cuda.flash_sdp_enabled())
        return step(self, batch)

    monkeypatch.setattr(Method, "training_step", training_step)
    assert tiny("data.val_fraction=0", "recipe.epochs=1").code == 0
    assert all(fused) and fused
    fused.clear()
    ended = tiny("data.val_fraction=0", "recipe.epochs=1", "trainer.precision=bf16-mixed", "runs_dir=half")
    assert ended.code == 0, ended.err
    assert not any(fused) and fused and torch.backends.cuda.flash_sdp_enabled()
    assert only("*", "half").name != only("*").name
    state = torch.load(only("*/last.ckpt", "half"), weights_only=True)["state_dict"]
    assert all(value.dtype == torch.float32 for value in state.values())


@pytest.mark.slow
def test_layout_and_compilation_are_the_same_run(tiny, monkeypatch):
    """The run that was trained otherwise is found, and its checkpoint is read back."""
    monkeypatch.setattr("ensembles.training.trainer.Compiled", lambda **_: Compiled(backend="eager"))
    torch.compiler.reset()
    options = ("method=mimo", "runtime.compile=true", "runtime.channels_last=false")
    assert tiny(*options).code == 0
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    results = (only("*") / "results.json").read_text()
    ended = tiny("method=mimo")
    assert ended.code == 0 and (only("*") / "results.json").read_text() == results
    ended = tiny("method=mimo", "train=false", f"ckpt_path={only('*/last.ckpt')}", "test_on=last", "runs_dir=read")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_passes_are_timed_in_the_layout_of_the_run(monkeypatch, layout):
    monkeypatch.setattr(cost, "SECONDS", 0)
    method = Deterministic(partial(small_cnn, 4, image_size=8), (3, 8, 8))
    method.memory_format, seen = layout, []
    method.ensemble.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cost.seconds_per_batch(method, batch_size=2)
    assert seen and all(x.is_contiguous(memory_format=layout) for x in seen)


@pytest.mark.parametrize(
    ("width", "pixels", "computes", "said"),
    [(256, 32, True, True), (64, 32, True, False), (256, 8, True, False), (256, 32, False, False)],
)
def test_half_precision_is_named_where_it_would_gain(monkeypatch, recwarn, width, pixels, computes, said):
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: computes)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, width, 3))
    module.ensemble = SimpleNamespace(input_shape=(3, pixels, pixels))
    _require_precision(OmegaConf.create({"trainer": {"precision": 32, "accelerator": "cpu"}, "train": True}), module)
    assert ["trainer.precision=bf16-mixed" in str(warning.message) for warning in recwarn] == [True] * said


@pytest.mark.parametrize(
    ("argument", "said"),
    {
        "trainer.precision=16-mixed": "trainer.precision=16-mixed needs a GPU, and there is none in use",
        "trainer.precision=16": "trainer.precision is 16, but must be 32, bf16-mixed or 16-mixed.",
        "runtime.compile=1": "runtime.compile is 1, but must be auto, true or false.",
        "runtime.channels_last=auto": "runtime.channels_last is 'auto', but must be true or false.",
        "strategy=null": "Config group override must be a string or a list",
        "strategy=fsdp": "strategy=fsdp needs GPUs, and there are none in use: take strategy=ddp.",
    }.items(),
)
def test_what_cannot_work_is_said_in_one_sentence(tiny, argument, said):
    ended = tiny(argument)
    assert ended.code == 1 and said in ended.err and ended.err.count("\n") == 1
    assert not list(Path(".").rglob("*.ckpt"))


@pytest.mark.campaign
def test_compiled_by_inductor_and_exported(tiny):
    from ensembles.export import export

    ended = tiny("method=mimo", "runtime.compile=true")
    assert ended.code == 0, ended.err
    compiled = json.loads((only("*") / "results.json").read_text())
    assert tiny("method=mimo", "runs_dir=plain").code == 0
    plain = json.loads((only("*", "plain") / "results.json").read_text())
    assert compiled["test/nll"] == pytest.approx(plain["test/nll"], rel=1e-4)
    export(only("*/last.ckpt"), Path("ensemble.pt2"))
    assert Path("ensemble.pt2").stat().st_size > 0
