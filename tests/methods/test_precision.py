"""Half precision, compiled passes and the images' layout: for every method."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from ensembles.data import Digits
from ensembles.training.callbacks import Compiled
from ensembles.training.recipe import Recipe
from ensembles.training.trainer import configure_members
from tests.methods.building import METHODS, built

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
every_method = pytest.mark.parametrize("method", METHODS)


def trained(method, *callbacks, precision=32, channels_last=True):
    """A method after two steps on digits, and the losses of both."""
    module = built(method, "small_cnn")
    module.recipe = Recipe(lambda groups: torch.optim.SGD(groups, lr=0.05), 1, 8, lambda done, of: 1.0)
    configure_members(module, OmegaConf.create({"runtime": {"channels_last": channels_last}, "strategy": None}))
    data = Digits(batch_size=8, val_fraction=0)
    data.deal = module.deal
    losses = Losses()
    pl.Trainer(
        accelerator="cpu",
        precision=precision,
        max_steps=2,
        logger=False,
        callbacks=[losses, *callbacks],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, data)
    return module, losses.found


class Losses(pl.Callback):
    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.found.append(outputs["loss"].item())


@every_method
def test_half_precision_trains_as_the_whole_does(method):
    """On a CPU too: the passes are rounded, the weights are not, and the losses are those of the whole precision."""
    whole, expected = trained(method)
    module, losses = trained(method, precision="bf16-mixed")
    assert losses == pytest.approx(expected, rel=0.02)
    assert losses != expected
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(module.state_dict()[key], value, rtol=0.05, atol=0.01, msg=key)


def test_a_network_trained_in_half_precision_is_tested_in_single():
    """Within what Lightning's precision surrounds a step with."""
    module, _ = trained("packed")
    module.eval()
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        expected = module(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert not torch.equal(module(x).float(), expected)
            assert torch.equal(module.test_step((x, None), 0), expected)


@every_method
def test_compiled_passes_train_the_same_weights(method):
    graphs = []

    def backend(graph, examples):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled, losses = trained(method, Compiled(backend=backend))
    before = len(graphs)
    assert before > 0
    plain, expected = trained(method)
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())  # and no name has changed
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(compiled.eval()(images), plain.eval()(images))
    assert len(graphs) == before  # after the training nothing is compiled


def test_a_short_training_is_not_compiled_by_itself():
    def backend(graph, examples):
        raise AssertionError("compiled")

    trained("deterministic", Compiled(least=3, backend=backend))


@pytest.mark.parametrize("method", ["packed", "batch_ensemble", "mimo"])
def test_the_layout_changes_no_result(method):
    last, losses = trained(method)
    contiguous, others = trained(method, channels_last=False)
    assert others == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(contiguous.state_dict(), last.state_dict(), rtol=1e-4, atol=1e-6)
    for module, layout in ((last, torch.channels_last), (contiguous, torch.contiguous_format)):
        kernels = [p for p in module.parameters() if p.dim() == 4 and p.shape[1] > 1]
        assert kernels and all(kernel.is_contiguous(memory_format=layout) for kernel in kernels)


@pytest.mark.parametrize("has", [True, False])
def test_a_processor_without_bf16_is_said_to_be_slow_at_it(has, monkeypatch):
    from ensembles.training import trainer

    monkeypatch.setattr(trainer, "_cpu_has_bf16", lambda: has)
    config = OmegaConf.create({"trainer": {"precision": "bf16-mixed", "accelerator": "cpu"}})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer._require_precision(config, None)
    assert [("no instructions for bf16" in str(warning.message)) for warning in said] == [True] * (not has)
