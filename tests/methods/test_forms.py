"""Members in a loop and side by side are the same ensemble: numbers, gradients, statistics, checkpoints."""

import copy
import gc
import json
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import ensembles
from ensembles.backbones import resnet18, small_cnn, wrn
from ensembles.errors import UserError
from ensembles.methods.layers import channels_last

SHAPE = (3, 8, 8)
METHODS = {
    "packed": lambda backbone: ensembles.packed(backbone, M=3, alpha=1.5, input_shape=SHAPE),
    "deep_ensemble": lambda backbone: ensembles.deep_ensemble(backbone, M=3, input_shape=SHAPE),
    "batch_ensemble": lambda backbone: ensembles.batch_ensemble(backbone, M=3, input_shape=SHAPE),
    "batch_ensemble_bn": lambda backbone: ensembles.batch_ensemble(
        backbone, M=3, member_batch_norm=True, input_shape=SHAPE
    ),
    "masksembles": lambda backbone: ensembles.masksembles(backbone, M=3, input_shape=SHAPE),
    "mixture": lambda backbone: ensembles.mixture(backbone, M=3, input_shape=SHAPE),
    "mixture_flat": lambda backbone: ensembles.mixture(backbone, M=3, grouping="flat", budget=0.5, input_shape=SHAPE),
}


def thin():
    return wrn(10, 1, 10, image_size=8)


def in_both(method, backbone=thin):
    torch.manual_seed(0)
    loop = channels_last(METHODS[method](backbone))
    grouped = copy.deepcopy(loop)
    loop.form, grouped.form = "loop", "grouped"
    return loop, grouped


def operations(ensemble, x):
    """Count what a training step launches, views aside."""

    class Count(TorchDispatchMode):
        launched = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            self.launched += not operation.is_view
            return operation(*args, **(kwargs or {}))

    ensemble(x)  # which decides about the form
    with Count() as count:
        ensemble(x).square().mean().backward()
    return count.launched


@pytest.mark.parametrize("method", METHODS)
def test_twenty_steps_are_the_same_in_both_forms(method):
    """Of a common batch and of members' own by turns; then each reads the other's checkpoint."""
    forms = in_both(method)
    torch.manual_seed(1)
    batches = [torch.randn(*([3] if step % 2 else []), 8, *SHAPE) for step in range(20)]
    labels = torch.randint(10, (8,))
    for ensemble in forms:
        optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.01, momentum=0.9)
        for x in batches:
            logits = ensemble(x) if x.dim() == 4 else ensemble.each(x)
            optimizer.zero_grad()
            F.cross_entropy(logits.flatten(0, 1), labels.repeat(3)).backward()
            optimizer.step()
    loop, grouped = forms
    states = loop.state_dict(), grouped.state_dict()
    assert list(states[0]) == list(states[1])
    for name in states[0]:
        torch.testing.assert_close(states[1][name], states[0][name], rtol=1e-4, atol=1e-4)
    fresh = in_both(method)[1]
    fresh.eval()(batches[0])  # its buffers are views by now
    fresh.load_state_dict(states[0])
    expected = loop.eval()(batches[0])
    torch.testing.assert_close(fresh(batches[0]), expected, rtol=1e-4, atol=1e-4)
    for m in range(3):
        torch.testing.assert_close(grouped.member(m).eval()(batches[0]), expected[m], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["packed", "batch_ensemble", "mixture"])
def test_side_by_side_launches_little_more_than_a_single_network(method):
    torch.manual_seed(0)
    x = torch.randn(2, *SHAPE)
    single = operations(thin(), x)
    loop, grouped = (operations(ensemble, x) for ensemble in in_both(method))
    assert grouped < loop
    assert grouped < {"packed": 1.6, "batch_ensemble": 4, "mixture": 2.5}[method] * single


def test_wide_layers_scale_what_goes_in_and_out_instead_of_weights(monkeypatch):
    monkeypatch.setattr("ensembles.methods.batch_ensemble.SCALED", 1)

    def backbone():
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 4 * 4, 10))

    loop, grouped = in_both("batch_ensemble", backbone)
    x = torch.randn(4, *SHAPE)
    logits = loop(x)
    torch.testing.assert_close(logits, grouped(x), rtol=1e-4, atol=1e-5)
    for ensemble in (loop, grouped):
        ensemble(x).square().mean().backward()
    for expected, found in zip(grouped.parameters(), loop.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-5)


def test_statistics_stay_members_own_through_copies_and_conversions():
    x = torch.randn(4, *SHAPE)
    loop, grouped = in_both("packed")
    grouped(x), loop(x)
    grouped = copy.deepcopy(grouped).double()
    grouped(x.double()), loop(x)
    for expected, found in zip(loop.buffers(), grouped.buffers(), strict=True):
        torch.testing.assert_close(found.to(expected.dtype), expected, rtol=1e-4, atol=1e-5)


def test_predicting_first_leaves_an_ensemble_that_trains():
    _, grouped = in_both("packed")
    with torch.inference_mode():
        grouped.eval()(torch.randn(2, *SHAPE))
    grouped.train()(torch.randn(2, *SHAPE)).mean().backward()
    assert all(p.grad is not None for p in grouped.parameters())


def launches_once(ensemble, x):
    """Tell whether the ensemble runs its members in one pass, by the convolutions it runs."""
    ensemble(x)  # which decides about the form
    called = []
    with pytest.MonkeyPatch.context() as patch:
        convolve = F.conv2d
        patch.setattr(F, "conv2d", lambda *args, **kwargs: called.append(1) or convolve(*args, **kwargs))
        ensemble(x)
    layers = sum(isinstance(layer, nn.Conv2d) for layer in ensemble.networks[0].modules())
    return len(called) == layers


@pytest.mark.parametrize(("M", "width", "grouped"), [(4, 0.25, True), (2, 0.25, False), (4, 1, False)])
def test_auto_goes_by_width_and_members(M, width, grouped):
    ensemble = ensembles.packed(lambda: resnet18(10, image_size=8, width=width), M=M, alpha=2, input_shape=SHAPE)
    assert launches_once(ensemble, torch.randn(2, *SHAPE)) == grouped


class Concatenating(nn.Module):
    """Two convolutions side by side, as in a DenseNet or an Inception network."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.norm(torch.cat([self.left(x), self.right(x)], dim=1)).mean((2, 3)))


def test_code_that_would_mix_members_runs_in_a_loop():
    ensemble = ensembles.deep_ensemble(Concatenating, M=4, input_shape=SHAPE)
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(ensemble(x), torch.stack([network(x) for network in ensemble.networks]))
    ensemble.form = "grouped"
    with pytest.raises(UserError, match=r"runtime\.form=grouped does not work for this Concatenating, since its code"):
        ensemble(x)


def test_layers_that_drop_whole_examples_run_in_a_loop():
    class StochasticDepth(nn.Identity):
        pass

    def backbone():
        network = small_cnn(10, image_size=8)
        network.relu1 = StochasticDepth()
        return network

    ensemble = ensembles.deep_ensemble(backbone, M=4, input_shape=SHAPE)
    assert not launches_once(ensemble, torch.randn(2, *SHAPE))


def test_a_run_is_the_same_in_both_forms(tiny):
    results = {}
    for form in ("grouped", "loop"):
        ended = tiny("method=packed", f"runtime.form={form}", f"runs_dir={form}")
        assert ended.code == 0, ended.err
        (found,) = Path(form).glob("*/results.json")
        results[form] = found.parent.name, json.loads(found.read_text())["test/nll"]
    assert results["grouped"][0] == results["loop"][0]
    assert results["grouped"][1] == pytest.approx(results["loop"][1], rel=1e-3)


def test_a_method_of_one_pass_has_no_forms(tiny):
    ended = tiny("method=mimo", "runtime.form=grouped")
    assert ended.code == 1 and "runtime.form=grouped is for methods with M networks, not for MIMO" in ended.err
    ended = tiny("runtime.form=stacked")
    assert ended.code == 1 and "runtime.form is 'stacked', but must be auto, loop or grouped" in ended.err


def test_an_ensemble_that_ran_side_by_side_is_freed():
    _, ensemble = in_both("masksembles")
    ensemble(torch.randn(2, *SHAPE))
    gone = weakref.ref(ensemble)
    del ensemble
    gc.collect()
    assert gone() is None
